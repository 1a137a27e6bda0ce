// Whole messages from a raw stream.
#ifndef CONCORD_SERVER_RPC_READ_MESSAGE_H_
#define CONCORD_SERVER_RPC_READ_MESSAGE_H_

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"
#include "server/rpc/stream_table.h"

namespace concord {

// Whether the caller of a stream may do on "sessions/{id}" what it asks for.
using AdmitToSession =
    absl::FunctionRef<absl::Status(absl::string_view session)>;

// The next message; nothing at the client's end of the stream.
// INVALID_ARGUMENT, PROTOCOL_VIOLATION for bytes that are no Message, or the
// stream's status.
template <class Message>
absl::StatusOr<std::optional<Message>> ReadMessage(LiveStream* stream) {
  grpc::ByteBuffer buffer;
  if (!stream->Read(&buffer)) {
    const absl::Status status = stream->status();
    if (!status.ok()) return status;
    return std::nullopt;
  }
  std::optional<Message> message = Message();
  if (wire::Decode(buffer, &*message)) return message;
  return InvalidField("PROTOCOL_VIOLATION", "message",
                      absl::StrCat(buffer.Length(), " bytes"),
                      absl::StrCat("a ", Message::descriptor()->full_name()));
}

// The one message that a stream begins with.
template <class Message>
absl::StatusOr<Message> ReadRequest(LiveStream* stream) {
  absl::StatusOr<std::optional<Message>> message = ReadMessage<Message>(stream);
  if (!message.ok()) return message.status();
  if (message->has_value()) return **std::move(message);
  return InvalidField("PROTOCOL_VIOLATION", "message", "end of the stream",
                      absl::StrCat("a ", Message::descriptor()->full_name()));
}

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_READ_MESSAGE_H_
