#include "server/session/statistics.h"

#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

int64_t Nanoseconds(const v1::Statistics::Phase& phase) {
  return phase.sum().seconds() * 1'000'000'000 + phase.sum().nanos();
}

TEST(Statistics, StepsAndAnswersAreCountedByWhatTheyWere) {
  Statistics statistics;
  v1::StepResult result;
  v1::StepTrailer trailer;
  trailer.mutable_timings()->mutable_solve()->set_nanos(3000);
  trailer.mutable_timings()->mutable_commit()->set_seconds(2);
  statistics.CountStep(result, trailer);
  for (int i = 0; i < 2; ++i) {
    result.mutable_solution()->set_conflict_free(true);
    statistics.CountStep(result, trailer);
  }
  result.mutable_solution()->set_pareto_stationary(true);
  statistics.CountStep(result, trailer);
  result.set_warming_up(true);
  statistics.CountStep(result, trailer);
  result.add_skipped_nonfinite();
  statistics.CountStep(result, trailer);
  result.clear_skipped_nonfinite();

  v1::StepTimings timings;
  timings.mutable_receive()->set_nanos(5000);
  timings.mutable_wait()->set_nanos(700);
  statistics.CountAnswer(result, timings, absl::Nanoseconds(400),
                         absl::Nanoseconds(60));
  result.set_repeated(true);
  statistics.CountAnswer(result, {}, absl::ZeroDuration(),
                         absl::Nanoseconds(60));
  result.set_dropped(true);
  statistics.CountAnswer(result, {}, absl::ZeroDuration(),
                         absl::Nanoseconds(60));
  statistics.CountFailedStream();
  statistics.CountBytes(10, 20);
  statistics.CountBytes(1, 2);

  const v1::Statistics all = statistics.Read();
  EXPECT_EQ(all.steps().in_conflict(), 1);
  EXPECT_EQ(all.steps().conflict_free(), 2);
  EXPECT_EQ(all.steps().stationary(), 1);
  EXPECT_EQ(all.steps().warming_up(), 1);
  EXPECT_EQ(all.steps().skipped(), 1);
  EXPECT_EQ(all.solve().count(), 6);
  EXPECT_EQ(Nanoseconds(all.solve()), 18'000);
  EXPECT_EQ(Nanoseconds(all.commit()), 12'000'000'000);
  EXPECT_EQ(all.answers().update(), 1);
  EXPECT_EQ(all.answers().repeated(), 1);
  EXPECT_EQ(all.answers().dropped(), 1);
  // Those that were answered from before have no phases of their own.
  EXPECT_EQ(all.receive().count(), 1);
  EXPECT_EQ(Nanoseconds(all.receive()), 5000);
  EXPECT_EQ(Nanoseconds(all.ingest()), 400);
  EXPECT_EQ(Nanoseconds(all.wait()), 700);
  EXPECT_EQ(all.send().count(), 3);
  EXPECT_EQ(Nanoseconds(all.send()), 180);
  EXPECT_EQ(all.failed_streams(), 1);
  EXPECT_EQ(all.received_bytes(), 11);
  EXPECT_EQ(all.sent_bytes(), 22);
}

TEST(Statistics, ASessionsStepsAreItsOwn) {
  Harness harness;
  const std::string first = harness.Create("a", Harness::Options(kSmall));
  harness.Create("b", Harness::Options(kSmall));
  auto workers = harness.JoinAll(first);
  harness.StepAll(&workers, 1);
  harness.StepAll(&workers, 2);
  const auto all = harness.registry.ReadStatistics();
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 2);
  EXPECT_EQ((*all)[0].session(), first);
  EXPECT_EQ((*all)[0].statistics().commit().count(), 2);
  EXPECT_EQ((*all)[1].statistics().commit().count(), 0);
  EXPECT_EQ(harness.registry.ReadStatistics(first)->size(), 1);
  EXPECT_TRUE(absl::IsNotFound(
      harness.registry.ReadStatistics("sessions/none").status()));
}

}  // namespace
}  // namespace concord
