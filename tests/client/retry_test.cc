#include "client/cpp/retry.h"

#include <functional>
#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"

namespace concord {
namespace {

RetryOptions Options() {
  RetryOptions options;
  options.initial_backoff = absl::Milliseconds(10);
  options.max_backoff = absl::Milliseconds(70);
  options.jitter_seed = 5;
  return options;
}

TEST(Backoff, DoublesUpToItsLargestWithJitterInTheUpperHalf) {
  Backoff backoff(Options());
  for (const int bound : {10, 20, 40, 70, 70}) {
    const absl::Duration pause = backoff.Next();
    EXPECT_GE(pause, absl::Milliseconds(bound) / 2);
    EXPECT_LE(pause, absl::Milliseconds(bound));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(10));
}

TEST(Backoff, TheSameSeedGivesTheSamePauses) {
  Backoff first(Options());
  Backoff second(Options());
  RetryOptions other = Options();
  other.jitter_seed = 6;
  Backoff third(other);
  bool differs = false;
  for (int i = 0; i < 5; ++i) {
    const absl::Duration pause = first.Next();
    EXPECT_EQ(pause, second.Next());
    differs |= pause != third.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(Retry, ReasonsDecideAsTheContractSays) {
  const auto error = [](absl::StatusCode code, const char* reason) {
    return MakeError(code, {reason, "", "", "", {}});
  };
  using Code = absl::StatusCode;
  for (const absl::Status& status :
       {absl::UnavailableError("refused"), absl::DataLossError("checksum"),
        absl::CancelledError("cut"), absl::InternalError("RST_STREAM"),
        absl::UnknownError("stream removed"),
        error(Code::kUnavailable, "DRAINING"),
        error(Code::kAborted, "ROUND_FAILED"),
        error(Code::kDeadlineExceeded, "ROUND_TIMEOUT"),
        error(Code::kDeadlineExceeded, "SEND_TIMEOUT"),
        // What a stream is told that is cut while it is idle has no details.
        absl::FailedPreconditionError("EPOCH_CHANGED: restored")}) {
    EXPECT_TRUE(IsWorthRetrying(status, 1, true)) << status;
  }
  EXPECT_FALSE(IsWorthRetrying(absl::FailedPreconditionError("of ours"), 1,
                               /*joined=*/false));
  for (const absl::Status& status :
       {error(Code::kNotFound, "SESSION_NOT_FOUND"),
        error(Code::kAborted, "SUPERSEDED"),
        error(Code::kInvalidArgument, "NON_FINITE"),
        error(Code::kFailedPrecondition, "SESSION_REPLACED"),
        error(Code::kFailedPrecondition, "EPOCH_CHANGED"),
        error(Code::kFailedPrecondition, "STEP_AHEAD"),
        error(Code::kUnimplemented, "NOT_SERVED"),
        absl::PermissionDeniedError("no"), absl::UnauthenticatedError("who"),
        absl::ResourceExhaustedError("larger than max")}) {
    EXPECT_FALSE(IsWorthRetrying(status, 1, true)) << status;
  }
}

TEST(Retry, AnErrorThatSaysHowLongToWaitIsWorthWaitingFor) {
  const absl::Status told = MakeError(
      absl::StatusCode::kResourceExhausted,
      {"LIMIT_EXCEEDED", "", "", "", {{"limit", "x"}, {kRetryDelay, "2.5s"}}});
  EXPECT_EQ(RetryDelay(told), absl::Milliseconds(2500));
  EXPECT_TRUE(IsWorthRetrying(told, 1, /*joined=*/false));
  const absl::Status silent =
      MakeError(absl::StatusCode::kResourceExhausted,
                {"LIMIT_EXCEEDED", "", "", "", {{"limit", "x"}}});
  EXPECT_EQ(RetryDelay(silent), absl::ZeroDuration());
  EXPECT_FALSE(IsWorthRetrying(silent, 1, /*joined=*/false));
  EXPECT_TRUE(IsWorthRetrying(silent, 1, /*joined=*/true));
  for (const char* text : {"", "soon", "-1s"}) {
    EXPECT_EQ(RetryDelay(MakeError(
                  absl::StatusCode::kResourceExhausted,
                  {"LIMIT_EXCEEDED", "", "", "", {{kRetryDelay, text}}})),
              absl::ZeroDuration())
        << text;
  }
}

TEST(Retry, APauseIsAsLongAsTheServerAsks) {
  RetryOptions options = Options();
  options.initial_backoff = absl::Milliseconds(1);
  Backoff backoff(options);
  const std::function<bool()> never;
  const Limit limit(absl::Seconds(30), never);
  Tries tries(&backoff, /*max_attempts=*/0, limit);
  const absl::Time begun_at = absl::Now();
  absl::Status status =
      MakeError(absl::StatusCode::kResourceExhausted,
                {"LIMIT_EXCEEDED", "", "", "", {{kRetryDelay, "60ms"}}});
  EXPECT_TRUE(tries.Again(&status, /*worth_retrying=*/true));
  EXPECT_GE(absl::Now() - begun_at, absl::Milliseconds(60));
}

}  // namespace
}  // namespace concord
