#include "client/cli/json_line.h"

#include "absl/status/status.h"
#include "google/protobuf/util/json_util.h"

namespace concord {

absl::StatusOr<std::string> ToJsonLine(
    const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string line;
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &line, options);
  if (!status.ok()) return absl::InternalError(status.ToString());
  return line + "\n";
}

}  // namespace concord
