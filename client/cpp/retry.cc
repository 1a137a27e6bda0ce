#include "client/cpp/retry.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"

namespace concord {
namespace {

std::string MetadataOf(const ErrorDetail& detail, absl::string_view key) {
  for (const auto& [name, value] : detail.metadata) {
    if (name == key) return value;
  }
  return "";
}

}  // namespace

absl::Duration RetryDelay(const absl::Status& status) {
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  absl::Duration delay;
  if (!detail.has_value() ||
      !absl::ParseDuration(MetadataOf(*detail, kRetryDelay), &delay)) {
    return absl::ZeroDuration();
  }
  return std::max(delay, absl::ZeroDuration());
}

bool IsWorthRetrying(const absl::Status& status, uint64_t incarnation,
                     bool joined) {
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  const std::string reason = detail.has_value() ? detail->reason : "";
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kDataLoss:  // Our own finding: not what was sent.
      return true;
    case absl::StatusCode::kAborted:
      // A stream of our own that arrived late may have taken over from us;
      // anybody else must not be fought with.
      return reason != "SUPERSEDED" ||
             MetadataOf(*detail, "incarnation") == absl::StrCat(incarnation);
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      // What gRPC makes of a stream that was cut. With a reason it is the
      // server's own word.
      return reason.empty();
    case absl::StatusCode::kFailedPrecondition:
      // A stream that the server has cut while nothing was under way tells the
      // code and a text, no details: the next join is told why.
      return joined && reason.empty();
    case absl::StatusCode::kResourceExhausted:
      // The stream that was lost may still count as open at the server; and
      // where it says how long to wait, waiting is all that it takes.
      return reason == "LIMIT_EXCEEDED" &&
             (joined || RetryDelay(status) > absl::ZeroDuration());
    default:
      return false;
  }
}

absl::Status Validate(const RetryOptions& options) {
  if (options.initial_backoff <= absl::ZeroDuration()) {
    return InvalidField("INVALID_OPTION", "retry.initial_backoff",
                        absl::FormatDuration(options.initial_backoff),
                        "a duration > 0");
  }
  if (options.max_backoff < options.initial_backoff) {
    return InvalidField("INVALID_OPTION", "retry.max_backoff",
                        absl::FormatDuration(options.max_backoff),
                        "a duration >= retry.initial_backoff");
  }
  return absl::OkStatus();
}

Backoff::Backoff(const RetryOptions& options)
    : options_(options),
      random_(options.jitter_seed != 0 ? options.jitter_seed
                                       : std::random_device()()),
      next_(options.initial_backoff) {}

absl::Duration Backoff::Next() {
  const absl::Duration pause = next_;
  next_ = std::min(next_ * 2, options_.max_backoff);
  return pause * std::uniform_real_distribution<double>(.5, 1)(random_);
}

bool Tries::Again(absl::Status* status, bool worth_retrying) {
  ++failed_;
  absl::Status end = limit_.Check();
  if (end.ok()) {
    if (!worth_retrying) return false;
    if (max_attempts_ != 0 && failed_ >= max_attempts_) return false;
    last_error_ = *status;
    limit_.Pause(std::max(backoff_.Next(), RetryDelay(*status)));
    end = limit_.Check();
    if (end.ok()) return true;
  } else if (!worth_retrying && status->code() != end.code()) {
    return false;  // The answer came just in time.
  }
  std::string message =
      absl::StrCat(end.message(), " (", failed_, " failed tries)");
  if (!last_error_.ok()) {
    absl::StrAppend(&message, "; last error: ", last_error_.ToString());
  }
  *status = absl::Status(end.code(), message);
  return false;
}

}  // namespace concord
