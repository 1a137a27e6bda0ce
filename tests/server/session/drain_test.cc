// The end of sessions: deleted, idle, drained.
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

v1::DeleteSessionRequest DeleteRequest(const std::string& name) {
  v1::DeleteSessionRequest request;
  request.set_name(name);
  return request;
}

TEST(Delete, EndsTheStreamsOfARoundAndGivesTheMemoryBack) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const Vectors own = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, own), own).ok());
  Waiting waiting(workers[0].get());
  const Vectors half = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->stream().Begin(workers[1]->Header(1, half)).ok());
  v1::ServerInfo info;
  harness.registry.Describe(&info);
  EXPECT_GT(info.memory_reserved_bytes(), 7 * 4 * kSmall);
  ASSERT_TRUE(harness.registry.Delete(DeleteRequest("sessions/s")).ok());
  // One that waits gets the status; one that reads is cancelled.
  const absl::Status status = waiting.Get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Reason(status), "SESSION_NOT_FOUND");
  EXPECT_TRUE(workers[1]->cancelled());
  EXPECT_TRUE(workers[2]->cancelled());
  const std::vector<std::byte> bytes(8);
  const absl::Span<const std::byte> pieces[] = {bytes};
  EXPECT_EQ(Reason(workers[1]->stream().Append({0, 0, 8}, pieces)),
            "SESSION_NOT_FOUND");
  EXPECT_EQ(Reason(harness.registry.Get("sessions/s").status()),
            "SESSION_NOT_FOUND");
  workers.clear();
  harness.registry.Describe(&info);
  EXPECT_EQ(info.memory_reserved_bytes(), 0);
}

TEST(Delete, WithAnotherUidIsRefused) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall));
  v1::DeleteSessionRequest request = DeleteRequest(name);
  request.set_uid("another");
  EXPECT_EQ(Reason(harness.registry.Delete(request)), "SESSION_REPLACED");
  request.set_uid((*harness.registry.Get(name))->uid());
  EXPECT_TRUE(harness.registry.Delete(request).ok());
  EXPECT_EQ(Reason(harness.registry.Delete(request)), "SESSION_NOT_FOUND");
}

TEST(Idle, SessionsThatNobodyUsesAreReaped) {
  Harness harness;
  v1::Session options = harness.Options(kSmall);
  options.mutable_idle_ttl()->set_seconds(60);
  const std::string name = harness.Create("s", options);
  const std::string joined = harness.Create("joined", options);
  auto worker = harness.Join(joined, 0);
  harness.clock.Advance(absl::Seconds(59));
  EXPECT_TRUE(harness.registry.ReapIdle().empty());
  // A call counts as use, an open stream too.
  EXPECT_TRUE(harness.registry.Get(name).ok());
  harness.clock.Advance(absl::Seconds(59));
  EXPECT_TRUE(harness.registry.ReapIdle().empty());
  harness.clock.Advance(absl::Seconds(2));
  EXPECT_EQ(harness.registry.ReapIdle(), std::vector<std::string>{name});
  worker = nullptr;
  harness.clock.Advance(absl::Seconds(61));
  EXPECT_EQ(harness.registry.ReapIdle(), std::vector<std::string>{joined});
}

TEST(Drain, OpenRoundsFinishAndNewOnesAreRefused) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const auto idle =
      harness.Join(harness.Create("idle", harness.Options(kSmall)), 0);
  const Vectors first = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, first), first).ok());
  Waiting waiting(workers[0].get());
  std::thread draining(
      [&] { harness.registry.Drain(harness.clock.Now() + absl::Seconds(5)); });
  // Refused from the begin of the drain on.
  v1::CreateSessionRequest request;
  *request.mutable_session() = harness.Options(kSmall);
  idle->WaitUntilCancelled();
  const absl::Status status = harness.registry.Create(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Reason(status), "DRAINING");
  // The ranks that the open round waits for may still bring their parts.
  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, second), second).ok());
  Waiting also(workers[1].get());
  const Vectors third = Gradients(kSmall, 1, {2});
  ASSERT_TRUE(workers[2]->Send(workers[2]->Header(1, third), third).ok());
  Waiting last(workers[2].get());
  const absl::StatusOr<Answer> answer = last.Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(waiting.Get()->update, answer->update);
  EXPECT_EQ(also.Get()->update, answer->update);
  draining.join();
  EXPECT_EQ(Reason(workers[0]->stream().Begin(workers[0]->Header(2, {}))),
            "DRAINING");
  EXPECT_EQ(Reason(Worker::Join(&harness.registry,
                                harness.JoinMessage("sessions/s", 0, 1000))
                       .status()),
            "DRAINING");
}

TEST(Drain, ARankThatEndsItsStepServesTheRoundThatWaitsForIt) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const auto idle =
      harness.Join(harness.Create("idle", harness.Options(kSmall)), 0);
  const auto send = [&](size_t rank, uint64_t step) {
    const Vectors own = Gradients(kSmall, step, {static_cast<uint32_t>(rank)});
    ASSERT_TRUE(
        workers[rank]->Send(workers[rank]->Header(step, own), own).ok());
  };
  const auto never = [] { return false; };
  for (size_t rank = 0; rank < 3; ++rank) send(rank, 1);
  Waiting first(workers[0].get()), second(workers[1].get());
  // The last rank has its reply, and is slow to say that it is done.
  const absl::StatusOr<StepReply> reply = workers[2]->stream().Finish(never);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(first.Get().ok());
  EXPECT_TRUE(second.Get().ok());
  send(0, 2);
  Waiting waiting(workers[0].get());
  std::thread draining(
      [&] { harness.registry.Drain(harness.clock.Now() + absl::Seconds(60)); });
  idle->WaitUntilCancelled();
  EXPECT_TRUE(workers[2]->stream().EndStep().ok());
  send(1, 2);
  Waiting also(workers[1].get());
  send(2, 2);
  const absl::StatusOr<StepReply> last = workers[2]->stream().Finish(never);
  EXPECT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE(waiting.Get().ok());
  EXPECT_TRUE(also.Get().ok());
  // No round waits any more.
  EXPECT_EQ(Reason(workers[2]->stream().EndStep()), "DRAINING");
  draining.join();
}

TEST(Drain, GivesUpRoundsAtItsDeadline) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const Vectors first = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, first), first).ok());
  Waiting waiting(workers[0].get());
  harness.registry.Drain(harness.clock.Now());
  EXPECT_EQ(Reason(waiting.Get().status()), "DRAINING");
  EXPECT_TRUE(workers[1]->cancelled());
}

}  // namespace
}  // namespace concord
