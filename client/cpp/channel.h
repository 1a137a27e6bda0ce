// Connections to a server.
#ifndef CONCORD_CLIENT_CPP_CHANNEL_H_
#define CONCORD_CLIENT_CPP_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/options.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace concord {

// INVALID_ARGUMENT unless `server` is "HOST:PORT" or "unix:/path".
absl::Status ValidateServer(absl::string_view server);

// INVALID_ARGUMENT for what cannot be with this server: a token that would
// travel readable, half a pair of certificate and key.
absl::Status ValidateSecurity(absl::string_view server,
                              const ClientOptions& options);

// What calls say of their caller: "Bearer TOKEN"; "": nothing.
// INVALID_ARGUMENT where the token's file cannot be read or has no token.
absl::StatusOr<std::string> MakeAuthorization(const ClientOptions& options);

// INVALID_ARGUMENT unless it is empty or W3C's. `field`: what it is called.
absl::Status ValidateTraceparent(absl::string_view field,
                                 absl::string_view traceparent);

// A channel, and what calls on it say of their caller.
struct Line {
  std::shared_ptr<grpc::Channel> channel;
  std::string authorization;  // As MakeAuthorization's.
  std::string traceparent;    // Empty: none.

  // To be called with every context before its call.
  void Prepare(grpc::ClientContext* context) const;
};

// A channel that shares its connection with no other channel. INVALID_ARGUMENT
// where a file of the options cannot be read.
absl::StatusOr<Line> MakeLine(const std::string& server,
                              const ClientOptions& options);

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_CHANNEL_H_
