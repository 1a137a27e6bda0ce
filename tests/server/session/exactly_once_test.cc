// Exactly once: retries, attempts, incarnations, and those who come late.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

// Every way to ask again gives the bytes of the first time.
TEST(ExactlyOnce, ARetryOfACommittedStepReturnsTheSameBytes) {
  for (const size_t n : {kSmall, kLarge}) {
    for (const bool momentum : {true, false}) {
      Harness harness;
      v1::Session options = harness.Options(n, 1);
      if (!momentum) {
        options.mutable_options()->mutable_momentum()->mutable_none();
      }
      const auto worker = harness.Join(harness.Create("s", options), 0);
      const auto twin = harness.Join(harness.Create("twin", options), 0);
      for (uint64_t step = 1; step <= 3; ++step) {
        const Vectors vectors = Gradients(n, step, {0, 1, 2});
        const absl::StatusOr<Answer> first = worker->Step(step, vectors);
        ASSERT_TRUE(first.ok()) << first.status();
        EXPECT_FALSE(first->result.repeated());
        // Nobody holds the update any more: recomputed. Vectors are dropped.
        const absl::StatusOr<Answer> again =
            worker->Step(step, Gradients(n, step + 50, {0, 1, 2}));
        ASSERT_TRUE(again.ok()) << again.status();
        EXPECT_TRUE(again->result.repeated());
        EXPECT_EQ(again->update, first->update);
        EXPECT_EQ(again->trailer.checksum(), first->trailer.checksum());
        const absl::StatusOr<Answer> bare = worker->Step(step, {});
        ASSERT_TRUE(bare.ok()) << bare.status();
        EXPECT_EQ(bare->update, first->update);
        EXPECT_EQ(twin->Step(step, vectors)->update, first->update);
      }
    }
  }
}

TEST(ExactlyOnce, ARetryFollowsTheUpdateThatSomebodyStillHolds) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kLarge, 1));
  auto worker = harness.Join(name, 0);
  const Vectors vectors = Gradients(kLarge, 1, {0, 1, 2});
  ASSERT_TRUE(worker->Send(worker->Header(1, vectors), vectors).ok());
  const absl::StatusOr<StepReply> slow =
      worker->stream().Finish([] { return false; });
  ASSERT_TRUE(slow.ok()) << slow.status();
  // The client saw no trailer and comes again on a new stream.
  auto retry = harness.Join(name, 0);
  EXPECT_TRUE(worker->cancelled());
  v1::StepHeader header = retry->Header(1, {});
  header.set_attempt(2);
  ASSERT_TRUE(retry->Send(header, {}).ok());
  const absl::StatusOr<StepReply> reply =
      retry->stream().Finish([] { return false; });
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->update.get(), slow->update.get());
  EXPECT_EQ(Worker::Collect(*reply)->update, Worker::Collect(*slow)->update);
}

TEST(ExactlyOnce, ALaggardKeepsItsUpdateWhileTheNextStepsCommit) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    const std::string name = harness.Create("s", harness.Options(n, 1));
    auto worker = harness.Join(name, 0);
    const Vectors vectors = Gradients(n, 1, {0, 1, 2});
    ASSERT_TRUE(worker->Send(worker->Header(1, vectors), vectors).ok());
    const absl::StatusOr<StepReply> laggard =
        worker->stream().Finish([] { return false; });
    ASSERT_TRUE(laggard.ok()) << laggard.status();
    const Vector first = Worker::Collect(*laggard)->update;
    auto retry = harness.Join(name, 0);
    for (uint64_t step = 2; step <= 4; ++step) {
      const absl::StatusOr<Answer> answer =
          retry->Step(step, Gradients(n, step, {0, 1, 2}));
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_NE(answer->update, first);
    }
    EXPECT_EQ(Worker::Collect(*laggard)->update, first);
  }
}

TEST(ExactlyOnce, StaleAndFutureStepsNameTheCommittedOne) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  const std::string twin_name =
      harness.Create("twin", harness.Options(kSmall, 1));
  auto worker = harness.Join(name, 0);
  auto twin = harness.Join(twin_name, 0);
  for (uint64_t step = 1; step <= 3; ++step) {
    const Vectors vectors = Gradients(kSmall, step, {0, 1, 2});
    ASSERT_TRUE(worker->Step(step, vectors).ok());
    ASSERT_TRUE(twin->Step(step, vectors).ok());
  }
  const Vectors vectors = Gradients(kSmall, 9, {0, 1, 2});
  for (const auto& [step, reason] :
       std::vector<std::pair<uint64_t, std::string>>{
           {0, "STEP_STALE"}, {2, "STEP_STALE"}, {5, "STEP_AHEAD"}}) {
    const absl::Status status = worker->Step(step, vectors).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(Reason(status), reason) << step;
    EXPECT_EQ(Metadata(status, "committed_step"), "3");
    worker = harness.Join(name, 0);
  }
  const Vectors good = Gradients(kSmall, 4, {0, 1, 2});
  EXPECT_EQ(worker->Step(4, good)->update, twin->Step(4, good)->update);
}

// Its weights are behind, not its step.
TEST(ExactlyOnce, ARetryThatTheNextStepOvertakesIsToldToResync) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  harness.StepAll(&workers, 1);
  // Rank 2 dies with a complete contribution to step 2, and its next process
  // asks for the update of step 1.
  const Vectors own = Gradients(kSmall, 2, {2});
  ASSERT_TRUE(workers[2]->Send(workers[2]->Header(2, own), own).ok());
  {
    Waiting waiting(workers[2].get());
    waiting.Cancel();
    EXPECT_FALSE(waiting.Get().ok());
  }
  v1::Join join = harness.JoinMessage("sessions/s", 2, 77);
  join.set_resume_step(0);
  auto retry = Worker::Join(&harness.registry, join);
  ASSERT_TRUE(retry.ok()) << retry.status();
  ASSERT_TRUE((*retry)->Send((*retry)->Header(1, {}), {}).ok());
  const Vectors first = Gradients(kSmall, 2, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(2, first), first).ok());
  Waiting waiting(workers[0].get());
  ASSERT_TRUE(workers[1]->Step(2, Gradients(kSmall, 2, {1})).ok());
  EXPECT_TRUE(waiting.Get().ok());
  const absl::Status status = (*retry)->Finish().status();
  EXPECT_EQ(Reason(status), "RESYNC_WEIGHTS");
  EXPECT_EQ(Metadata(status, "committed_step"), "2");
}

TEST(ExactlyOnce, JoinChecksUidEpochRankAndIncarnation) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall));
  const auto refused = [&](v1::Join join) {
    return Reason(Worker::Join(&harness.registry, join).status());
  };
  v1::Join join = harness.JoinMessage(name, 0, 5);
  join.set_uid("another");
  EXPECT_EQ(refused(join), "SESSION_REPLACED");
  join = harness.JoinMessage(name, 0, 5);
  join.set_epoch(2);
  EXPECT_EQ(refused(join), "EPOCH_CHANGED");
  EXPECT_EQ(refused(harness.JoinMessage(name, 3, 5)), "RANK_OUT_OF_RANGE");
  EXPECT_EQ(refused(harness.JoinMessage(name, 0, 0)), "PROTOCOL_VIOLATION");
  EXPECT_EQ(refused(harness.JoinMessage("sessions/none", 0, 5)),
            "SESSION_NOT_FOUND");
}

TEST(ExactlyOnce, ANewIncarnationMustSayWhereItResumes) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  auto worker = harness.Join(name, 0, 5);
  Vector last;
  for (uint64_t step = 1; step <= 2; ++step) {
    last = worker->Step(step, Gradients(kSmall, step, {0, 1, 2}))->update;
  }
  v1::Join join = harness.JoinMessage(name, 0, 6);
  const absl::Status status = Worker::Join(&harness.registry, join).status();
  EXPECT_EQ(Reason(status), "SESSION_IN_PROGRESS");
  EXPECT_EQ(Metadata(status, "committed_step"), "2");
  EXPECT_FALSE(worker->cancelled());
  join.set_resume_step(3);
  EXPECT_EQ(Reason(Worker::Join(&harness.registry, join).status()),
            "SESSION_IN_PROGRESS");
  join.set_resume_step(0);
  EXPECT_EQ(Reason(Worker::Join(&harness.registry, join).status()),
            "RESYNC_WEIGHTS");
  join.set_resume_step(1);
  auto resumed = Worker::Join(&harness.registry, join);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_TRUE(worker->cancelled());
  EXPECT_EQ((*resumed)->Step(2, {})->update, last);
  // The replaced process does not take its place back.
  EXPECT_EQ(
      Reason(Worker::Join(&harness.registry, harness.JoinMessage(name, 0, 5))
                 .status()),
      "SUPERSEDED");
}

TEST(ExactlyOnce, ANewAttemptTakesOverFromOneThatHangs) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  // Rank 0 hangs in the middle of other numbers.
  const Vectors other = Gradients(kSmall, 77, {0});
  const auto hung = std::move(workers[0]);
  ASSERT_TRUE(hung->stream().Begin(hung->Header(1, other)).ok());
  const std::vector<std::byte> bytes(100);
  const absl::Span<const std::byte> pieces[] = {bytes};
  ASSERT_TRUE(hung->stream().Append({0, 0, 100}, pieces).ok());
  workers[0] = harness.Join("sessions/s", 0);
  EXPECT_TRUE(hung->cancelled());
  EXPECT_EQ(Reason(hung->stream().Append({0, 100, 100}, pieces)), "SUPERSEDED");
  EXPECT_EQ(harness.StepAll(&workers, 1).update,
            harness.StepAll(&twins, 1).update);
}

TEST(ExactlyOnce, ACompleteContributionStaysWhenItsStreamIsReplaced) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  const Vectors own = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, own), own).ok());
  Waiting older(workers[0].get());
  auto newer = harness.Join("sessions/s", 0);
  EXPECT_EQ(Reason(older.Get().status()), "SUPERSEDED");
  // The retry's own vectors are read and dropped.
  const Vectors other = Gradients(kSmall, 77, {0});
  v1::StepHeader header = newer->Header(1, other);
  header.set_attempt(2);
  ASSERT_TRUE(newer->Send(header, other).ok());
  Waiting retry(newer.get());
  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, second), second).ok());
  Waiting also(workers[1].get());
  const absl::StatusOr<Answer> answer =
      workers[2]->Step(1, Gradients(kSmall, 1, {2}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(retry.Get()->update, answer->update);
  EXPECT_EQ(also.Get()->update, answer->update);
  EXPECT_EQ(harness.StepAll(&twins, 1).update, answer->update);
}

TEST(ExactlyOnce, AnOlderAttemptOfTheSameStepIsRefused) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  auto worker = harness.Join(name, 0);
  v1::StepHeader header = worker->Header(1, Gradients(kSmall, 1, {0}));
  header.set_attempt(3);
  ASSERT_TRUE(worker->stream().Begin(header).ok());
  auto older = harness.Join(name, 0);
  header.set_attempt(2);
  EXPECT_EQ(Reason(older->stream().Begin(header)), "SUPERSEDED");
}

TEST(ExactlyOnce, ACancelledWaitLeavesTheContributionInTheRound) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const Vectors own = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, own), own).ok());
  Waiting waiting(workers[0].get());
  waiting.Cancel();
  EXPECT_EQ(waiting.Get().status().code(), absl::StatusCode::kCancelled);
  workers[0] = nullptr;
  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, second), second).ok());
  Waiting also(workers[1].get());
  const absl::StatusOr<Answer> answer =
      workers[2]->Step(1, Gradients(kSmall, 1, {2}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(also.Get()->update, answer->update);
  // It comes back and gets what was committed with its help.
  workers[0] = harness.Join("sessions/s", 0);
  EXPECT_EQ(workers[0]->Step(1, own)->update, answer->update);
}

}  // namespace
}  // namespace concord
