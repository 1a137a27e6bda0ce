// A session against a reference model of its contract: seeded random schedules
// of everything that workers, clocks, disks and crashes do to it.
//
// A failure prints its seed and the operations before it; the same seed gives
// the same schedule.
#include "tests/server/session/model_check.h"

#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace concord {
namespace {

constexpr int kSeeds = 12;
constexpr int kOperations = 3000;  // Of each.

// Small sessions of all kinds.
ReferenceModel::Options OptionsOf(uint64_t seed) {
  ReferenceModel::Options options;
  options.num_vectors = 2 + static_cast<int>(seed % 2);
  options.num_parameters = 3 + static_cast<Eigen::Index>(seed % 5);
  options.num_workers = 2 + static_cast<uint32_t>(seed / 2 % 2);
  options.min_workers = static_cast<uint32_t>(seed / 4 % 3);
  options.round_timeout = absl::Seconds(10);
  options.straggler_timeout = absl::Seconds(2);
  options.update_history = seed % 3 == 2 ? 2 : 0;
  options.keep_checkpoints = 3;
  using Keeps = ReferenceModel::Keeps;
  options.keeps = seed % 6 == 4   ? Keeps::kCheckpoints
                  : seed % 6 == 5 ? Keeps::kNothing
                                  : Keeps::kSteps;
  return options;
}

template <class System>
ModelCheckResult Check(uint64_t seed, int operations = kOperations) {
  const ReferenceModel::Options options = OptionsOf(seed);
  System system(ToSession(options));
  return CheckAgainstModel(options, seed, operations, &system);
}

class ModelCheck : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Seeds, ModelCheck, testing::Range(0, kSeeds));

TEST_P(ModelCheck, EveryAnswerIsTheReferenceModels) {
  const ModelCheckResult result =
      Check<SystemUnderTest>(static_cast<uint64_t>(GetParam()));
  ASSERT_FALSE(result.divergence.has_value()) << *result.divergence;
  EXPECT_EQ(result.operations, kOperations);
  EXPECT_GT(result.commits, kOperations / 50u);
  std::cout << "seed " << GetParam() << ": " << result.operations
            << " operations, " << result.commits
            << " steps, largest relative error of an update "
            << result.largest_error << std::endl;
}

// Else the check might agree on nothing much.
TEST(ModelChecks, TheSchedulesReachEveryKindOfAnswer) {
  std::map<std::string, int> reached;
  int operations = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const ModelCheckResult result = Check<SystemUnderTest>(seed);
    operations += result.operations;
    for (const auto& [what, times] : result.reached) reached[what] += times;
  }
  EXPECT_GE(operations, 10'000);
  for (const char* const what : {"Create: OK",
                                 "Create: SESSION_EXISTS",
                                 "Delete: OK",
                                 "Delete: SESSION_NOT_FOUND",
                                 "Delete: SESSION_REPLACED",
                                 "Join: OK",
                                 "Join: EPOCH_CHANGED",
                                 "Join: PROTOCOL_VIOLATION",
                                 "Join: RANK_OUT_OF_RANGE",
                                 "Join: RESYNC_WEIGHTS",
                                 "Join: SESSION_IN_PROGRESS",
                                 "Join: SESSION_NOT_FOUND",
                                 "Join: SESSION_REPLACED",
                                 "Join: SUPERSEDED",
                                 "Begin: OK",
                                 "Begin: DUPLICATE_INDEX",
                                 "Begin: EPOCH_CHANGED",
                                 "Begin: PROTOCOL_VIOLATION",
                                 "Begin: RESYNC_WEIGHTS",
                                 "Begin: SESSION_NOT_FOUND",
                                 "Begin: STEP_AHEAD",
                                 "Begin: STEP_STALE",
                                 "Begin: SUPERSEDED",
                                 "SendPart: OK",
                                 "SendPart: SUPERSEDED",
                                 "Cut",
                                 "Finish: OK",
                                 "Finish: WAITS",
                                 "Finish: EMPTY_ROUND",
                                 "Finish: EPOCH_CHANGED",
                                 "Finish: NON_FINITE",
                                 "Finish: RESYNC_WEIGHTS",
                                 "Finish: ROUND_TIMEOUT",
                                 "Finish: SESSION_NOT_FOUND",
                                 "Finish: SUPERSEDED",
                                 "Leave: OK",
                                 "Leave: SUPERSEDED",
                                 "Advance",
                                 "RestartCleanly: OK",
                                 "Crash: OK",
                                 "CrashInCommit: OK",
                                 "Park",
                                 "TakeCheckpoint: OK",
                                 "TakeCheckpoint: NOT_DURABLE",
                                 "Restore: OK",
                                 "Restore: CHECKPOINT_NOT_FOUND",
                                 "the committed step again",
                                 "an earlier step again",
                                 "dropped",
                                 "a rank is missing",
                                 "a live update"}) {
    EXPECT_GE(reached[what], 10) << what;
  }
}

// A retry of the committed step is taken for a contribution to the next one.
class CountsARetryTwice : public SystemUnderTest {
 public:
  using SystemUnderTest::SystemUnderTest;
  absl::Status Begin(int stream, const v1::StepHeader& header,
                     const std::string& data) override {
    v1::StepHeader changed = header;
    const absl::StatusOr<v1::Session> session = Describe();
    if (session.ok() && header.step() != 0 &&
        header.step() == session->committed_step()) {
      changed.set_step(header.step() + 1);
    }
    return SystemUnderTest::Begin(stream, changed, data);
  }
};

// Headers count whatever their epoch.
class ForgetsTheEpoch : public SystemUnderTest {
 public:
  using SystemUnderTest::SystemUnderTest;
  absl::Status Begin(int stream, const v1::StepHeader& header,
                     const std::string& data) override {
    v1::StepHeader changed = header;
    const absl::StatusOr<v1::Session> session = Describe();
    if (session.ok()) changed.set_epoch(session->epoch());
    return SystemUnderTest::Begin(stream, changed, data);
  }
};

TEST_P(ModelCheck, APlantedBugThatCountsARetryTwiceIsFound) {
  const ModelCheckResult result =
      Check<CountsARetryTwice>(static_cast<uint64_t>(GetParam()));
  ASSERT_TRUE(result.divergence.has_value());
  std::cout << *result.divergence << std::endl;
}

TEST_P(ModelCheck, APlantedBugThatDropsTheEpochCheckIsFound) {
  const ModelCheckResult result =
      Check<ForgetsTheEpoch>(static_cast<uint64_t>(GetParam()));
  ASSERT_TRUE(result.divergence.has_value());
  std::cout << *result.divergence << std::endl;
}

}  // namespace
}  // namespace concord
