#include "operators/errors.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace concord {
namespace {

constexpr absl::string_view kPayloadUrl = "concord.v1/ErrorDetail";

// The payload is lines of C-escaped text: reason, field, value, accepted, then
// keys and values in turn. Not the wire's format: the rpc room makes that.
std::string Serialize(const ErrorDetail& detail) {
  std::vector<std::string> lines = {
      absl::CEscape(detail.reason), absl::CEscape(detail.field),
      absl::CEscape(detail.value), absl::CEscape(detail.accepted)};
  for (const auto& [key, value] : detail.metadata) {
    lines.push_back(absl::CEscape(key));
    lines.push_back(absl::CEscape(value));
  }
  return absl::StrJoin(lines, "\n");
}

absl::optional<ErrorDetail> Parse(const std::string& payload) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(payload, '\n')) {
    std::string plain;
    if (!absl::CUnescape(line, &plain)) return absl::nullopt;
    lines.push_back(std::move(plain));
  }
  if (lines.size() < 4 || lines.size() % 2 != 0) return absl::nullopt;
  ErrorDetail detail{lines[0], lines[1], lines[2], lines[3], {}};
  for (size_t i = 4; i < lines.size(); i += 2) {
    detail.metadata.emplace_back(lines[i], lines[i + 1]);
  }
  return detail;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, ErrorDetail detail,
                       absl::string_view explanation) {
  std::string message = detail.reason;
  absl::string_view separator = ": ";
  if (!detail.field.empty()) {
    absl::StrAppend(&message, separator, detail.field, " = ", detail.value);
    separator = "; ";
  }
  if (!detail.accepted.empty()) {
    absl::StrAppend(&message, separator, "accepted: ", detail.accepted);
    separator = "; ";
  }
  if (!explanation.empty()) absl::StrAppend(&message, separator, explanation);
  absl::Status status(code, message);
  status.SetPayload(kPayloadUrl, absl::Cord(Serialize(detail)));
  return status;
}

absl::Status InvalidField(absl::string_view reason, absl::string_view field,
                          absl::string_view value, absl::string_view accepted) {
  return MakeError(absl::StatusCode::kInvalidArgument, {std::string(reason),
                                                        std::string(field),
                                                        std::string(value),
                                                        std::string(accepted),
                                                        {}});
}

absl::optional<ErrorDetail> GetErrorDetail(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return absl::nullopt;
  return Parse(std::string(*payload));
}

std::string GetErrorReason(const absl::Status& status) {
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  return detail.has_value() ? detail->reason : "";
}

}  // namespace concord
