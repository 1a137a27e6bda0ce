// A watch through the client, of sessions on the real server.
#include "client/cpp/step_watch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord {
namespace {

constexpr size_t kParameters = 64;

class StepWatchTest : public ::testing::Test {
 protected:
  StepWatchTest() : log_([](const std::string&) {}) {
    Server::Options options;
    options.listen = {"127.0.0.1:0"};
    options.sessions.kernels = MakeCpuKernels(1);
    options.log = &log_;
    server_ = Server::Start(std::move(options)).value();
    client_ = Client::Connect(server_->addresses()[0]).value();
    v1::CreateSessionRequest request;
    request.set_session_id("watched");
    request.mutable_session()->set_num_vectors(2);
    request.mutable_session()->set_num_parameters(kParameters);
    session_ = client_->AttachOrCreate(request).value();
    WorkerOptions worker;
    worker.session = session_.name();
    worker_ = client_->OpenWorker(worker).value();
  }

  StepOutcome TakeStep() {
    const std::vector<float> gradients[] = {
        std::vector<float>(kParameters, 1.f),
        std::vector<float>(kParameters, 2.f)};
    const StepVector vectors[] = {{0, gradients[0].data(), 1},
                                  {1, gradients[1].data(), 1}};
    std::vector<float> update(kParameters);
    return worker_->Step(vectors, {}, update.data()).value();
  }

  EventLog log_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  v1::Session session_;
  std::unique_ptr<WorkerSession> worker_;
};

TEST_F(StepWatchTest, FollowsTheStepsFromTheLastOneOn) {
  TakeStep();
  TakeStep();
  const auto watch = client_->Watch("sessions/watched", session_.uid()).value();
  for (uint64_t step = 2; step <= 4; ++step) {
    const v1::StepDiagnostics told = watch->Next().value();
    EXPECT_EQ(told.result().step(), step);
    EXPECT_EQ(told.steps(), 1);
    EXPECT_EQ(told.ranks_size(), 1);
    const StepOutcome next = TakeStep();
    EXPECT_EQ(next.result.step(), step + 1);
  }
}

TEST_F(StepWatchTest, OutlivesTheClientAndEndsWithTheSession) {
  const auto watch = client_->Watch("sessions/watched").value();
  TakeStep();
  EXPECT_EQ(watch->Next()->result().step(), 1);
  ASSERT_TRUE(client_->DeleteSession("sessions/watched").ok());
  client_ = nullptr;
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(GetErrorReason(watch->Next().status()), "SESSION_NOT_FOUND");
  }
}

TEST_F(StepWatchTest, EndsAtItsTimeoutAndWhenItsCallerGivesUp) {
  const auto late = client_->Watch("sessions/watched").value();
  CallOptions options;
  options.timeout = absl::Milliseconds(20);
  EXPECT_EQ(late->Next(options).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  TakeStep();
  EXPECT_EQ(late->Next().status().code(), absl::StatusCode::kDeadlineExceeded);

  const auto given_up = client_->Watch("sessions/watched").value();
  EXPECT_EQ(given_up->Next()->result().step(), 1);
  options.timeout = absl::InfiniteDuration();
  options.is_cancelled = [] { return true; };
  EXPECT_EQ(given_up->Next(options).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(StepWatchTest, EndsWithTheServer) {
  const auto watch = client_->Watch("sessions/watched").value();
  TakeStep();
  EXPECT_EQ(watch->Next()->result().step(), 1);
  server_->Drain(absl::Seconds(5));
  EXPECT_EQ(watch->Next().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->Watch("sessions/watched").value()->Next().status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(StepWatchTest, AForkedChildMayOnlyDestroyIt) {
  auto watch = client_->Watch("sessions/watched").value();
  TakeStep();
  ASSERT_TRUE(watch->Next().ok());
  const pid_t child = fork();
  if (child == 0) {
    const bool refused =
        watch->Next().status().code() == absl::StatusCode::kFailedPrecondition;
    watch = nullptr;
    _exit(refused ? 0 : 1);
  }
  int exit_status = -1;
  ASSERT_EQ(waitpid(child, &exit_status, 0), child);
  EXPECT_EQ(exit_status, 0);
  TakeStep();
  EXPECT_EQ(watch->Next()->result().step(), 2);
}

}  // namespace
}  // namespace concord
