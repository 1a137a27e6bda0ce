#include "client/cpp/status.h"

#include <string>

#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr absl::string_view kDomain = "concord";

// False where there is no error of ours in the details.
bool ReadDetail(const std::string& details, ErrorDetail* detail) {
  google::rpc::Status message;
  if (details.empty() || !message.ParseFromString(details)) return false;
  bool found = false;
  google::rpc::BadRequest bad_request;
  for (const google::protobuf::Any& any : message.details()) {
    google::rpc::ErrorInfo info;
    if (any.Is<google::rpc::BadRequest>()) {
      any.UnpackTo(&bad_request);
    } else if (any.UnpackTo(&info) && info.domain() == kDomain) {
      found = true;
      detail->reason = info.reason();
      for (const auto& [key, value] : info.metadata()) {
        if (key == "field") {
          detail->field = value;
        } else if (key == "value") {
          detail->value = value;
        } else if (key == "accepted") {
          detail->accepted = value;
        } else {
          detail->metadata.emplace_back(key, value);
        }
      }
    }
  }
  if (found && detail->field.empty() && bad_request.field_violations_size()) {
    detail->field = bad_request.field_violations(0).field();
  }
  return found;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  ErrorDetail detail;
  if (!ReadDetail(status.error_details(), &detail)) {
    return absl::Status(code, status.error_message());
  }
  // The server's text was made by MakeError from the same detail: only what it
  // had added to that is an explanation.
  const std::string message = status.error_message();
  absl::string_view explanation = message;
  const absl::Status bare = MakeError(code, detail);
  if (absl::ConsumePrefix(&explanation, bare.message())) {
    if (!absl::ConsumePrefix(&explanation, "; ")) {
      absl::ConsumePrefix(&explanation, ": ");
    }
  }
  return MakeError(code, detail, explanation);
}

}  // namespace concord
