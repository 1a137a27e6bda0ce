// A worker of a scripted server (scripted_server.h), with quick retries.
#ifndef CONCORD_TESTS_CLIENT_SESSION_FIXTURE_H_
#define CONCORD_TESTS_CLIENT_SESSION_FIXTURE_H_

#include <cstddef>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/session.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace concord {

inline constexpr size_t kParameters = 10'000;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() : server_(kParameters) {
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.retry.max_backoff = absl::Milliseconds(2);
    options_.retry.jitter_seed = 1;
    step_.timeout = absl::Seconds(30);
    for (std::vector<float>* vector : {&first_, &second_}) {
      vector->resize(kParameters);
      std::iota(vector->begin(), vector->end(), vector == &first_ ? 1.f : -5.f);
    }
    update_.assign(kParameters, -1);
  }

  std::unique_ptr<WorkerSession> Open(WorkerOptions worker = {}) {
    worker.session = "sessions/job";
    auto client = Client::Connect(server_.address(), options_);
    EXPECT_TRUE(client.ok()) << client.status();
    CallOptions call;
    call.timeout = absl::Seconds(30);
    auto session = (*client)->OpenWorker(worker, call);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }

  absl::StatusOr<StepOutcome> Step(WorkerSession* worker) {
    const StepVector vectors[] = {{0, first_.data()}, {2, second_.data()}};
    const StepLoss losses[] = {{0, 0.5}, {2, 0.25}};
    return worker->Step(vectors, losses, update_.data(), step_);
  }

  void ExpectTheSum() const {
    for (size_t i = 0; i < kParameters; ++i) {
      ASSERT_EQ(update_[i], first_[i] + 3 * second_[i]) << i;
    }
  }

  ScriptedServer server_;
  ClientOptions options_;
  StepOptions step_;
  std::vector<float> first_;
  std::vector<float> second_;
  std::vector<float> update_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_CLIENT_SESSION_FIXTURE_H_
