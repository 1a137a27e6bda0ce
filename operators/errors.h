// Errors that name what was wrong, with which value, and what is accepted.
//
// Every layer reports through absl::Status. One payload beside the message
// carries the machine-readable part, so that the rpc room can turn it into
// google.rpc.ErrorInfo and BadRequest, and clients can tell errors apart
// without reading their text. Reasons are the names of the values of
// `concord.v1.ErrorReason` (proto/concord/v1/errors.proto), which is their
// manual; a test holds the two lists together.
#ifndef CONCORD_OPERATORS_ERRORS_H_
#define CONCORD_OPERATORS_ERRORS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace concord {

struct ErrorDetail {
  std::string reason;    // "NON_FINITE"
  std::string field;     // "vectors[1].length"; empty: no single field.
  std::string value;     // "17", as received.
  std::string accepted;  // "10401", "a finite number > 0"
  // More values a program may want, e.g. {"committed_step", "12"}.
  std::vector<std::pair<std::string, std::string>> metadata;

  bool operator==(const ErrorDetail&) const = default;
};

// A status of `code` whose message is built from `detail` ("REASON: field =
// value; accepted: …", followed by `explanation`), with the detail attached.
absl::Status MakeError(absl::StatusCode code, ErrorDetail detail,
                       absl::string_view explanation = "");

// Shorthand for the commonest kind: INVALID_ARGUMENT.
absl::Status InvalidField(absl::string_view reason, absl::string_view field,
                          absl::string_view value, absl::string_view accepted);

// The detail attached to `status`, if there is one.
absl::optional<ErrorDetail> GetErrorDetail(const absl::Status& status);

// The detail's reason, or "" where there is none.
std::string GetErrorReason(const absl::Status& status);

}  // namespace concord

#endif  // CONCORD_OPERATORS_ERRORS_H_
