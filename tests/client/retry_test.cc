#include "client/cpp/retry.h"

#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"

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
        error(Code::kDeadlineExceeded, "SEND_TIMEOUT")}) {
    EXPECT_TRUE(IsWorthRetrying(status, 1, true)) << status;
  }
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

}  // namespace
}  // namespace concord
