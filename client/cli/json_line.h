// A server's messages for programs.
#ifndef CONCORD_CLIENT_CLI_JSON_LINE_H_
#define CONCORD_CLIENT_CLI_JSON_LINE_H_

#include <string>

#include "absl/status/statusor.h"

namespace google::protobuf {
class Message;
}

namespace concord {

// The message as JSON on one line, all fields by their names in the .proto, so
// that a pipe can take them one by one.
absl::StatusOr<std::string> ToJsonLine(
    const google::protobuf::Message& message);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_JSON_LINE_H_
