#include "server/rpc/status.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"
#include "server/session/messages.h"

namespace concord {
namespace {

constexpr char kDomain[] = "concord";
constexpr size_t kMaxMessageBytes = 1024;

// At most `limit` bytes of valid UTF-8 remain valid UTF-8; what was cut shows.
std::string Shorten(absl::string_view text, size_t limit) {
  constexpr absl::string_view kCut = "...";
  if (text.size() <= limit) return std::string(text);
  size_t end = limit - kCut.size();
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), kCut);
}

// The details with no text longer than `limit`; metadata beyond the first
// `entries` is left out.
google::rpc::Status MakeDetails(const absl::Status& status,
                                const ErrorDetail& detail, size_t limit,
                                size_t entries) {
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Shorten(status.message(), limit));

  google::rpc::ErrorInfo info;
  info.set_reason(detail.reason);
  info.set_domain(kDomain);
  auto& metadata = *info.mutable_metadata();
  for (const auto& [key, value] : detail.metadata) {
    if (metadata.size() >= entries) break;
    metadata[Shorten(key, limit)] = Shorten(value, limit);
  }
  if (!detail.field.empty()) metadata["field"] = Shorten(detail.field, limit);
  if (!detail.value.empty()) metadata["value"] = Shorten(detail.value, limit);
  if (!detail.accepted.empty()) {
    metadata["accepted"] = Shorten(detail.accepted, limit);
  }
  details.add_details()->PackFrom(info);
  for (const auto& [key, value] : detail.metadata) {
    absl::Duration delay;
    if (key != kRetryDelay || !absl::ParseDuration(value, &delay)) continue;
    google::rpc::RetryInfo retry;
    FillDuration(delay, retry.mutable_retry_delay());
    details.add_details()->PackFrom(retry);
  }

  if (!detail.field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Shorten(detail.field, limit));
    violation->set_description(Shorten(
        absl::StrCat("is ", detail.value, "; accepted: ", detail.accepted),
        limit));
    details.add_details()->PackFrom(bad_request);
  }
  return details;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = Shorten(status.message(), kMaxMessageBytes);
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail) return grpc::Status(code, message);
  size_t limit = 400;
  size_t entries = 16;
  google::rpc::Status details = MakeDetails(status, *detail, limit, entries);
  while (details.ByteSizeLong() > kMaxDetailBytes) {
    limit = limit * 3 / 4;
    entries = entries * 3 / 4;
    details = MakeDetails(status, *detail, limit, entries);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace concord
