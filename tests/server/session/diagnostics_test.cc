// What watchers see of a session's steps.
#include "server/session/diagnostics.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/util/time_util.h"
#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

using ::testing::ElementsAre;

bool Never() { return false; }

class WatchTest : public ::testing::Test {
 protected:
  std::unique_ptr<Diagnostics::Watcher> Watch(const std::string& uid = "") {
    v1::WatchRequest request;
    request.set_name(name_);
    request.set_uid(uid);
    return harness_.registry.Get(name_).value()->Watch(request).value();
  }

  Harness harness_;
  const std::string name_ =
      harness_.Create("watched", harness_.Options(kSmall));
  std::vector<std::unique_ptr<Worker>> workers_ = harness_.JoinAll(name_);
};

TEST_F(WatchTest, EachStepIsToldAsItsWorkersSawIt) {
  const auto watcher = Watch();
  for (uint64_t step = 1; step <= 3; ++step) {
    const Answer answer = harness_.StepAll(&workers_, step);
    const v1::StepDiagnostics told = watcher->Next(Never).value();
    EXPECT_EQ(told.steps(), 1);
    EXPECT_EQ(told.result().step(), step);
    EXPECT_EQ(told.result().SerializeAsString(),
              answer.result.SerializeAsString());
    EXPECT_EQ(told.trailer().checksum(), answer.trailer.checksum());
    EXPECT_EQ(told.trailer().update_cosines_size(), kLosses);
    EXPECT_EQ(told.ranks_size(), kLosses);
  }
}

TEST_F(WatchTest, ALongStepIsToldToo) {
  const std::string name = harness_.Create("long", harness_.Options(kLarge));
  auto workers = harness_.JoinAll(name);
  v1::WatchRequest request;
  request.set_name(name);
  const auto watcher =
      harness_.registry.Get(name).value()->Watch(request).value();
  const Answer answer = harness_.StepAll(&workers, 1);
  const v1::StepDiagnostics told = watcher->Next(Never).value();
  EXPECT_EQ(told.result().step(), 1);
  EXPECT_EQ(told.trailer().checksum(), answer.trailer.checksum());
}

TEST_F(WatchTest, BeginsWithTheLastCommittedStep) {
  harness_.StepAll(&workers_, 1);
  harness_.StepAll(&workers_, 2);
  const auto watcher = Watch();
  const v1::StepDiagnostics told = watcher->Next(Never).value();
  EXPECT_EQ(told.result().step(), 2);
  EXPECT_EQ(told.steps(), 1);
  EXPECT_EQ(told.ranks_size(), kLosses);
}

TEST_F(WatchTest, ASlowWatcherMissesStepsAndNoStepWaits) {
  const auto slow = Watch();
  const auto quick = Watch();
  // Each of these returns although the slow one takes nothing.
  for (uint64_t step = 1; step <= 5; ++step) {
    harness_.StepAll(&workers_, step);
    EXPECT_EQ(quick->Next(Never)->result().step(), step);
  }
  v1::StepDiagnostics told = slow->Next(Never).value();
  EXPECT_EQ(told.result().step(), 5);
  EXPECT_EQ(told.steps(), 5);
  harness_.StepAll(&workers_, 6);
  told = slow->Next(Never).value();
  EXPECT_EQ(told.result().step(), 6);
  EXPECT_EQ(told.steps(), 1);
}

TEST_F(WatchTest, AWatcherThatWaitsIsWoken) {
  const auto watcher = Watch();
  std::vector<uint64_t> steps;
  std::thread waiting([&] {
    for (uint64_t last = 0; last < 3;) {
      last = watcher->Next(Never)->result().step();
      steps.push_back(last);
    }
  });
  for (uint64_t step = 1; step <= 3; ++step) harness_.StepAll(&workers_, step);
  waiting.join();
  EXPECT_EQ(steps.back(), 3);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
}

TEST_F(WatchTest, TellsHowLongEachRankTookAndWhenTheStepWasCommitted) {
  const auto watcher = Watch();
  const absl::Time begun_at = harness_.clock.Now();
  // The last rank begins with the others and is complete two seconds later.
  std::vector<Vectors> own;
  for (uint32_t rank = 0; rank < kLosses; ++rank) {
    own.push_back(Gradients(kSmall, 1, {rank}));
  }
  for (uint32_t rank : {0u, 1u}) {
    ASSERT_TRUE(workers_[rank]
                    ->Send(workers_[rank]->Header(1, own[rank]), own[rank])
                    .ok());
  }
  Waiting first(workers_[0].get());
  Waiting second(workers_[1].get());
  const v1::StepHeader header = workers_[2]->Header(1, own[2]);
  ASSERT_TRUE(workers_[2]->stream().Begin(header).ok());
  harness_.clock.Advance(absl::Seconds(2));
  const absl::Span<const std::byte> bytes(
      reinterpret_cast<const std::byte*>(own[2].at(2).data()),
      kSmall * sizeof(float));
  const absl::Span<const std::byte> pieces[] = {bytes};
  ASSERT_TRUE(workers_[2]->stream().Append({0, 0, bytes.size()}, pieces).ok());
  ASSERT_TRUE(workers_[2]->Finish().ok());
  ASSERT_TRUE(first.Get().ok());
  ASSERT_TRUE(second.Get().ok());

  const v1::StepDiagnostics told = watcher->Next(Never).value();
  std::vector<std::vector<int64_t>> times;
  for (const v1::StepDiagnostics::Rank& rank : told.ranks()) {
    times.push_back(
        {rank.rank(), rank.receive().seconds(), rank.wait().seconds()});
  }
  EXPECT_THAT(times, ElementsAre(ElementsAre(0, 0, 2), ElementsAre(1, 0, 2),
                                 ElementsAre(2, 2, 0)));
  EXPECT_EQ(google::protobuf::util::TimeUtil::TimestampToMicroseconds(
                told.commit_time()),
            absl::ToUnixMicros(begun_at + absl::Seconds(2)));
}

TEST_F(WatchTest, EndsWithTheSession) {
  harness_.StepAll(&workers_, 1);
  const auto watcher = Watch();
  v1::DeleteSessionRequest request;
  request.set_name(name_);
  ASSERT_TRUE(harness_.registry.Delete(request).ok());
  // What there was to tell comes first.
  EXPECT_EQ(watcher->Next(Never)->result().step(), 1);
  EXPECT_EQ(Reason(watcher->Next(Never).status()), "SESSION_NOT_FOUND");
  EXPECT_EQ(Reason(watcher->Next(Never).status()), "SESSION_NOT_FOUND");
}

TEST_F(WatchTest, EndsWhenItsSessionEndsWhileItWaits) {
  const auto watcher = Watch();
  std::thread deleting([&] {
    v1::DeleteSessionRequest request;
    request.set_name(name_);
    EXPECT_TRUE(harness_.registry.Delete(request).ok());
  });
  EXPECT_EQ(Reason(watcher->Next(Never).status()), "SESSION_NOT_FOUND");
  deleting.join();
}

TEST_F(WatchTest, DrainingEndsItAfterTheLastRound) {
  const auto watcher = Watch();
  workers_.clear();
  harness_.registry.Drain(harness_.clock.Now() + absl::Seconds(5));
  EXPECT_EQ(Reason(watcher->Next(Never).status()), "DRAINING");
}

TEST_F(WatchTest, ACancelledOneStopsWaiting) {
  const auto watcher = Watch();
  std::atomic<int> asked{0};
  const absl::Status status =
      watcher->Next([&asked] { return ++asked == 3; }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
  // It may go on.
  harness_.StepAll(&workers_, 1);
  EXPECT_EQ(watcher->Next(Never)->result().step(), 1);
}

TEST_F(WatchTest, AnotherCreationOfTheNameIsNotWatched) {
  const std::shared_ptr<Session> session = harness_.registry.Get(name_).value();
  EXPECT_NE(Watch(session->uid()), nullptr);
  v1::WatchRequest request;
  request.set_uid("another");
  EXPECT_EQ(Reason(session->Watch(request).status()), "SESSION_REPLACED");
}

TEST_F(WatchTest, DoesNotKeepAnIdleSession) {
  const auto watcher = Watch();
  workers_.clear();
  harness_.clock.Advance(absl::Hours(2));
  EXPECT_THAT(harness_.registry.ReapIdle(), ElementsAre(name_));
  EXPECT_EQ(Reason(watcher->Next(Never).status()), "SESSION_NOT_FOUND");
}

TEST(DiagnosticsTest, NothingIsCollectedWhileNobodyWatches) {
  FakeClock clock;
  const auto diagnostics = std::make_shared<Diagnostics>(&clock);
  int collected = 0;
  const auto collect = [&collected] {
    ++collected;
    return std::make_shared<const StepFacts>(
        StepFacts{std::make_shared<v1::StepResult>(), {}, {}, {}});
  };
  diagnostics->Publish(collect);
  EXPECT_EQ(collected, 0);
  {
    const auto watcher = diagnostics->Watch(nullptr);
    diagnostics->Publish(collect);
    EXPECT_EQ(collected, 1);
    EXPECT_EQ(watcher->Next(Never)->steps(), 1);
  }
  diagnostics->Publish(collect);
  EXPECT_EQ(collected, 1);
}

}  // namespace
}  // namespace concord
