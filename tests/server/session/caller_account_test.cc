#include "server/session/caller_account.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"
#include "tests/server/session/one_limit.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

// What an error's metadata says.
std::map<std::string, std::string> Said(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetErrorReason(status), "LIMIT_EXCEEDED");
  const auto detail = GetErrorDetail(status);
  if (!detail.has_value()) return {};
  std::map<std::string, std::string> said(detail->metadata.begin(),
                                          detail->metadata.end());
  said.emplace("value", detail->value);
  said.emplace("accepted", detail->accepted);
  return said;
}

class CallerAccountTest : public ::testing::Test {
 protected:
  std::shared_ptr<CallerAccount> Find(const CallerLimits& limits = {}) {
    return accounts_.Find("heat-workers", limits);
  }

  FakeClock clock_;
  std::shared_ptr<MemoryBudget> all_ = MemoryBudget::Make(1000);
  CallerAccounts accounts_{{}, all_, &clock_};
};

TEST_F(CallerAccountTest, WithoutLimitsOnlyTheServersCount) {
  const auto account = Find();
  std::vector<std::unique_ptr<CallerAccount::Use>> uses;
  for (int i = 0; i < 100; ++i) {
    auto stream = account->AddStream();
    auto session = account->AddSession();
    ASSERT_TRUE(stream.ok() && session.ok() && account->TakeStep().ok());
    uses.push_back(*std::move(stream));
    uses.push_back(*std::move(session));
  }
  EXPECT_TRUE(account->memory()->Reserve(1000).ok());
  EXPECT_EQ(Said(account->memory()->Reserve(1001).status())["limit"],
            "memory_budget_bytes");
}

TEST_F(CallerAccountTest, OneStreamTooManyIsRefusedUntilAnotherEnds) {
  const auto account = Find(OneLimit(&CallerLimits::max_streams, 2));
  auto first = account->AddStream();
  const auto second = account->AddStream();
  ASSERT_TRUE(first.ok() && second.ok());
  auto said = Said(account->AddStream().status());
  EXPECT_EQ(said["limit"], "max_streams_per_caller");
  EXPECT_EQ(said["value"], "3");
  EXPECT_EQ(said["accepted"], "2");
  EXPECT_EQ(said["caller"], "heat-workers");
  EXPECT_EQ(said.count(kRetryDelay), 0);
  first->reset();
  EXPECT_TRUE(account->AddStream().ok());
}

TEST_F(CallerAccountTest, StoredSessionsCountAndAreNotRefused) {
  const auto account = Find(OneLimit(&CallerLimits::max_sessions, 1));
  const auto stored = account->AddStoredSession();
  const auto another = account->AddStoredSession();
  auto said = Said(account->AddSession().status());
  EXPECT_EQ(said["limit"], "max_sessions_per_caller");
  EXPECT_EQ(said["value"], "3");
}

TEST_F(CallerAccountTest, MemoryIsTakenFromTheCallersAndTheServers) {
  const auto account = Find(OneLimit(&CallerLimits::memory_budget_bytes, 600));
  const auto other = accounts_.Find("others", {});
  {
    const auto own = account->memory()->Reserve(500);
    ASSERT_TRUE(own.ok());
    EXPECT_EQ(all_->reserved_bytes(), 500);
    auto said = Said(account->memory()->Reserve(200).status());
    EXPECT_EQ(said["limit"], "memory_budget_per_caller_bytes");
    EXPECT_EQ(said["value"], "200");
    EXPECT_EQ(said["accepted"], "100");
    EXPECT_EQ(all_->reserved_bytes(), 500);  // Refused: nothing is kept.
    EXPECT_EQ(Said(other->memory()->Reserve(501).status())["limit"],
              "memory_budget_bytes");
    EXPECT_TRUE(account->memory()->ReserveBeyond(400).ok());
    EXPECT_FALSE(account->memory()->ReserveBeyond(501).ok());
  }
  EXPECT_EQ(all_->reserved_bytes(), 0);
  EXPECT_EQ(account->memory()->reserved_bytes(), 0);
}

TEST_F(CallerAccountTest, StepsComeAtTheRateAfterASecondsWorth) {
  const auto account = Find(OneLimit(&CallerLimits::max_step_rate, 4));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(account->TakeStep().ok()) << i;
  auto said = Said(account->TakeStep());
  EXPECT_EQ(said["limit"], "max_step_rate_per_caller");
  EXPECT_EQ(said["accepted"], "4 a second");
  EXPECT_EQ(said[kRetryDelay], "250ms");
  clock_.Advance(absl::Milliseconds(100));
  EXPECT_EQ(Said(account->TakeStep())[kRetryDelay], "150ms");
  clock_.Advance(absl::Milliseconds(150));
  EXPECT_TRUE(account->TakeStep().ok());
  EXPECT_FALSE(account->TakeStep().ok());
  // However long nobody came: no more than a second's worth.
  clock_.Advance(absl::Hours(1));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(account->TakeStep().ok()) << i;
  EXPECT_FALSE(account->TakeStep().ok());
}

TEST_F(CallerAccountTest, ARateBelowOneASecondLetsOneStepThrough) {
  const auto account = Find(OneLimit(&CallerLimits::max_step_rate, 0.1));
  EXPECT_TRUE(account->TakeStep().ok());
  EXPECT_EQ(Said(account->TakeStep())[kRetryDelay], "10s");
}

TEST_F(CallerAccountTest, WhatItsTokenDoesNotSayTheServerSays) {
  CallerLimits defaults;
  defaults.max_streams = defaults.max_sessions = 1;
  CallerAccounts accounts(defaults, all_, &clock_);
  const auto account =
      accounts.Find("a", OneLimit(&CallerLimits::max_streams, 2));
  const auto one = account->AddStream();
  const auto two = account->AddStream();
  EXPECT_TRUE(two.ok());
  const auto session = account->AddSession();
  EXPECT_FALSE(account->AddSession().ok());
  // Another token, or the same one's new limits, hold for what comes.
  accounts.Find("a", OneLimit(&CallerLimits::max_sessions, 0));
  EXPECT_TRUE(account->AddSession().ok());
  EXPECT_FALSE(account->AddStream().ok());
}

TEST_F(CallerAccountTest, WhoComesBackFindsHisBucketAsItWas) {
  for (int i = 0; i < 10; ++i) {
    const auto account = Find(OneLimit(&CallerLimits::max_step_rate, 2));
    EXPECT_EQ(account->TakeStep().ok(), i < 2) << i;
    // Many others come and go.
    for (int j = 0; j < 100; ++j) {
      accounts_.Find(absl::StrCat("10.0.", i, ".", j), {});
    }
  }
  EXPECT_LT(accounts_.size(), 300);
}

}  // namespace
}  // namespace concord
