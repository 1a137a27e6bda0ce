// Addresses to listen on.
#ifndef CONCORD_SERVER_RPC_LISTEN_ADDRESS_H_
#define CONCORD_SERVER_RPC_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace concord {

struct ListenAddress {
  std::string text;         // For gRPC.
  std::string host;         // Empty for a Unix socket.
  std::string socket_file;  // Empty for HOST:PORT.
  // Reachable from this machine alone.
  bool is_local = false;

  // With the port taken.
  std::string WithPort(int port) const;
};

// "HOST:PORT", "[IPv6]:PORT" or "unix:/path". INVALID_ARGUMENT, INVALID_OPTION.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

// Removes a socket file that a server left behind. UNAVAILABLE when somebody
// listens on it, or it is no socket.
absl::Status RemoveStaleSocket(const std::string& path);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_LISTEN_ADDRESS_H_
