// Watch on the wire: who reads slowly or not at all, and how a watch ends.
#include <map>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "concord/v1/concord.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/rpc/stream_table.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

using ::testing::HasSubstr;

constexpr size_t kLength = 1000;
// Losses of a session whose diagnostics are long, and steps of it that are more
// than what gRPC and the kernel buffer.
constexpr uint32_t kManyLosses = 250;
constexpr size_t kFewParameters = 4;
constexpr uint64_t kManySteps = 40;

class WatchClient {
 public:
  explicit WatchClient(const TestServer& server, const std::string& name,
                       const std::string& uid = "")
      : stub_(v1::Concord::NewStub(server.Connect())) {
    v1::WatchRequest request;
    request.set_name(name);
    request.set_uid(uid);
    stream_ = stub_->Watch(&context_, request);
  }
  ~WatchClient() { context_.TryCancel(); }

  // An empty message when the stream has ended.
  v1::StepDiagnostics Read() {
    v1::StepDiagnostics step;
    if (!stream_->Read(&step)) step.Clear();
    return step;
  }
  grpc::Status Finish() {
    v1::StepDiagnostics step;
    while (stream_->Read(&step)) {
    }
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Concord::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::StepDiagnostics>> stream_;
};

std::map<uint32_t, Vector> BothGradients(uint64_t step) {
  return {{0, RandomVector(kLength, static_cast<int>(2 * step))},
          {1, RandomVector(kLength, static_cast<int>(2 * step + 1))}};
}

// A session of one worker with diagnostics of about a MiB.
class LongWinded {
 public:
  explicit LongWinded(int send_timeout_s) {
    v1::Session session;
    session.set_num_vectors(kManyLosses);
    session.set_num_parameters(kFewParameters);
    session.mutable_send_timeout()->set_seconds(send_timeout_s);
    session.mutable_options()->mutable_combiner()->mutable_mean();
    server.Create("long", session);
    worker_ = std::make_unique<StreamClient>(server);
    worker_->Join("sessions/long");
  }

  void TakeStep(uint64_t step) {
    worker_->SendContribution(
        step, {{0, RandomVector(kFewParameters, static_cast<int>(step))}});
    const absl::StatusOr<Answer> answer = worker_->ReadAnswer();
    ASSERT_TRUE(answer.ok()) << answer.status();
  }

  TestServer server;

 private:
  std::unique_ptr<StreamClient> worker_;
};

TEST(Watch, TwoWatchersSeeWhatTheWorkerWasTold) {
  TestServer server;
  const v1::Session session = server.Create("s", kLength);
  WatchClient first(server, "sessions/s");
  WatchClient second(server, "sessions/s", session.uid());
  StreamClient worker(server);
  worker.Join("sessions/s");
  for (uint64_t step = 1; step <= 3; ++step) {
    worker.SendContribution(step, BothGradients(step));
    const absl::StatusOr<Answer> answer = worker.ReadAnswer();
    ASSERT_TRUE(answer.ok()) << answer.status();
    for (WatchClient* watcher : {&first, &second}) {
      const v1::StepDiagnostics told = watcher->Read();
      EXPECT_EQ(told.result().SerializeAsString(),
                answer->result.SerializeAsString());
      EXPECT_EQ(told.trailer().checksum(), answer->trailer.checksum());
      EXPECT_EQ(told.ranks_size(), 1);
      EXPECT_GT(told.commit_time().seconds(), 0);
      EXPECT_EQ(told.steps(), 1);
    }
  }
}

TEST(Watch, OneThatReadsLateMissesStepsAndNoStepWaits) {
  LongWinded session(/*send_timeout_s=*/60);
  session.TakeStep(1);
  WatchClient watcher(session.server, "sessions/long");
  EXPECT_EQ(watcher.Read().result().step(), 1);
  for (uint64_t step = 2; step <= kManySteps; ++step) session.TakeStep(step);
  uint64_t messages = 0, steps = 0, last = 1;
  while (last < kManySteps) {
    const v1::StepDiagnostics told = watcher.Read();
    ASSERT_EQ(told.result().step(), last + told.steps());
    last = told.result().step();
    steps += told.steps();
    ++messages;
  }
  EXPECT_EQ(steps, kManySteps - 1);
  EXPECT_LT(messages, steps);
}

TEST(Watch, OneThatStopsReadingIsCancelled) {
  LongWinded session(/*send_timeout_s=*/1);
  session.TakeStep(1);
  WatchClient stuck(session.server, "sessions/long");
  EXPECT_EQ(stuck.Read().result().step(), 1);
  for (uint64_t step = 2; step <= kManySteps; ++step) session.TakeStep(step);
  EXPECT_THAT(session.server.AwaitLogged("watch_ended"),
              HasSubstr("SEND_TIMEOUT"));
  EXPECT_EQ(stuck.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(Watch, EndsWithTheSession) {
  TestServer server;
  server.Create("s", kLength);
  WatchClient watcher(server, "sessions/s");
  StreamClient worker(server);
  worker.Join("sessions/s");
  worker.SendContribution(1, BothGradients(1));
  ASSERT_TRUE(worker.ReadAnswer().ok());
  EXPECT_EQ(watcher.Read().result().step(), 1);
  v1::DeleteSessionRequest request;
  request.set_name("sessions/s");
  google::protobuf::Empty empty;
  grpc::ClientContext context;
  ASSERT_TRUE(v1::Concord::NewStub(server.Connect())
                  ->DeleteSession(&context, request, &empty)
                  .ok());
  const WireError error = ReadError(watcher.Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kNotFound);
  EXPECT_EQ(error.reason, "SESSION_NOT_FOUND");
}

TEST(Watch, DrainingDoesNotWaitForIt) {
  TestServer server;
  server.Create("s", kLength);
  WatchClient watcher(server, "sessions/s");
  StreamClient worker(server);
  worker.Join("sessions/s");
  worker.SendContribution(1, BothGradients(1));
  ASSERT_TRUE(worker.ReadAnswer().ok());
  EXPECT_EQ(watcher.Read().result().step(), 1);
  const absl::Time begun_at = absl::Now();
  server.server().Drain(absl::Seconds(60));
  EXPECT_LT(absl::Now() - begun_at, absl::Seconds(30));
  const grpc::Status status = watcher.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("DRAINING"));
}

TEST(Watch, AWrongNameOrCreationIsRefused) {
  TestServer server;
  const v1::Session session = server.Create("s", kLength);
  EXPECT_EQ(ReadError(WatchClient(server, "sessions/none").Finish()).reason,
            "SESSION_NOT_FOUND");
  const WireError error =
      ReadError(WatchClient(server, "sessions/s", "another").Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(error.reason, "SESSION_REPLACED");
  EXPECT_EQ(error.metadata.at("uid"), session.uid());
}

TEST(Watch, CountsAsAStreamUntilItsClientLeaves) {
  TestServer server([](Server::Options* options) {
    options->sessions.limits.max_streams = 1;
  });
  server.Create("s", kLength);
  {
    StreamClient worker(server);
    worker.Join("sessions/s");
    EXPECT_EQ(ReadError(WatchClient(server, "sessions/s").Finish()).reason,
              "LIMIT_EXCEEDED");
    worker.SendContribution(1, BothGradients(1));
    ASSERT_TRUE(worker.ReadAnswer().ok());
  }
  ASSERT_TRUE(server.server().streams().AwaitEmpty(absl::Seconds(10)));
  {
    WatchClient watcher(server, "sessions/s");
    EXPECT_EQ(watcher.Read().result().step(), 1);
    EXPECT_EQ(server.server().streams().size(), 1);
  }
  EXPECT_TRUE(server.server().streams().AwaitEmpty(absl::Seconds(10)));
}

}  // namespace
}  // namespace concord
