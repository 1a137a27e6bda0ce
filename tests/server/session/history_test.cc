// Ranks that have fallen behind: what they get as long as it is kept, and what
// they are told afterwards.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

// Two ranks of which one suffices; rank 0 has taken `steps` steps alone.
class Behind {
 public:
  Behind(uint32_t update_history, uint64_t steps, size_t n = kSmall) {
    v1::Session options = Harness::Options(n, 2);
    options.set_min_workers(1);
    options.mutable_straggler_timeout();
    options.set_update_history(update_history);
    name = harness.Create("s", options);
    fast = harness.Join(name, 0);
    slow = harness.Join(name, 1, 5);
    updates.emplace_back();
    for (uint64_t step = 1; step <= steps; ++step) {
      const absl::StatusOr<Answer> answer =
          fast->Step(step, Gradients(n, step, {0, 1, 2}));
      EXPECT_TRUE(answer.ok()) << answer.status();
      updates.push_back(answer.ok() ? answer->update : Vector());
    }
  }
  std::string Resume(uint64_t resume_step, uint64_t incarnation) {
    v1::Join join = Harness::JoinMessage(name, 1, incarnation);
    join.set_resume_step(resume_step);
    auto joined = Worker::Join(&harness.registry, join);
    if (!joined.ok()) return Reason(joined.status());
    slow = *std::move(joined);
    return "";
  }

  Harness harness;
  std::string name;
  std::unique_ptr<Worker> fast, slow;
  std::vector<Vector> updates;  // By step.
};

TEST(History, ARankThatMissedStepsIsToldToTakeWeights) {
  Behind job(0, 3);
  const absl::Status status = job.slow->Step(1, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Reason(status), "RESYNC_WEIGHTS");
  EXPECT_EQ(Metadata(status, "committed_step"), "3");
  job.slow = job.harness.Join(job.name, 1, 5);
  EXPECT_EQ(Reason(job.slow->Step(2, {}).status()), "RESYNC_WEIGHTS");
  // The committed step it can have, and is then in the race again.
  job.slow = job.harness.Join(job.name, 1, 5);
  EXPECT_EQ(job.slow->Step(3, {})->update, job.updates[3]);
}

TEST(History, AStreamThatComesLateForAStepLongDoneIsStaleInstead) {
  Behind job(0, 3);
  ASSERT_TRUE(job.slow->Step(3, {}).ok());
  const absl::Status status = job.slow->Step(2, {}).status();
  EXPECT_EQ(Reason(status), "STEP_STALE");
  EXPECT_EQ(Metadata(status, "committed_step"), "3");
}

TEST(History, KeptUpdatesAreGivenAgainInOrder) {
  for (const size_t n : {kSmall, kLarge}) {
    Behind job(2, 5, n);
    EXPECT_EQ(Reason(job.slow->Step(2, {}).status()), "RESYNC_WEIGHTS");
    job.slow = job.harness.Join(job.name, 1, 5);
    for (uint64_t step = 3; step <= 5; ++step) {
      // What it brings comes too late, and is read all the same.
      const absl::StatusOr<Answer> answer =
          job.slow->Step(step, Gradients(n, step + 50, {1}));
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(answer->update, job.updates[step]);
      EXPECT_EQ(answer->result.step(), step);
      EXPECT_EQ(answer->trailer.step(), step);
      EXPECT_TRUE(answer->result.repeated());
      EXPECT_TRUE(answer->result.dropped());
    }
    // Again, as often as it likes, until it goes on.
    EXPECT_EQ(job.slow->Step(5, {})->update, job.updates[5]);
    EXPECT_EQ(Reason(job.slow->Step(4, {}).status()), "STEP_STALE");
    EXPECT_TRUE(job.fast->Step(6, Gradients(n, 6, {0, 1, 2})).ok());
  }
}

TEST(History, AContributorsRetryOfAnOlderStepIsNotDropped) {
  Behind job(2, 3);
  job.fast = nullptr;
  v1::Join join = Harness::JoinMessage(job.name, 0, 77);
  join.set_resume_step(1);
  auto joined = Worker::Join(&job.harness.registry, join);
  ASSERT_TRUE(joined.ok()) << joined.status();
  const absl::StatusOr<Answer> answer = (*joined)->Step(2, {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update, job.updates[2]);
  EXPECT_TRUE(answer->result.repeated());
  EXPECT_FALSE(answer->result.dropped());
}

TEST(History, ANewIncarnationMayResumeAsFarBackAsUpdatesAreKept) {
  Behind without(0, 5);
  EXPECT_EQ(without.Resume(3, 6), "RESYNC_WEIGHTS");
  EXPECT_EQ(without.Resume(6, 6), "SESSION_IN_PROGRESS");
  EXPECT_EQ(without.Resume(4, 6), "");
  EXPECT_EQ(without.slow->Step(5, {})->update, without.updates[5]);
  Behind with(2, 5);
  EXPECT_EQ(with.Resume(1, 6), "RESYNC_WEIGHTS");
  EXPECT_EQ(with.Resume(2, 6), "");
  EXPECT_EQ(with.slow->Step(3, {})->update, with.updates[3]);
  EXPECT_EQ(with.Resume(5, 7), "");
}

TEST(History, ItsMemoryIsReservedWithTheSession) {
  Harness harness;
  v1::Session options = Harness::Options(kSmall);
  const auto bytes = [&] {
    v1::CreateSessionRequest request;
    *request.mutable_session() = options;
    return harness.registry.Create(request)->memory_bytes();
  };
  const uint64_t without = bytes();
  options.set_update_history(3);
  // Three older updates, and the last one can no longer be let go.
  EXPECT_EQ(bytes(), without + 4 * kSmall * sizeof(float));
}

}  // namespace
}  // namespace concord
