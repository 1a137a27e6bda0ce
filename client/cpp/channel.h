// Connections to a server.
#ifndef CONCORD_CLIENT_CPP_CHANNEL_H_
#define CONCORD_CLIENT_CPP_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/options.h"
#include "grpcpp/channel.h"

namespace concord {

// INVALID_ARGUMENT unless `server` is "HOST:PORT" or "unix:/path".
absl::Status ValidateServer(absl::string_view server);

// A channel that shares its connection with no other channel.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server,
                                           const ClientOptions& options);

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_CHANNEL_H_
