#include "tests/server/rpc/breakable_connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "grpcpp/create_channel_posix.h"

namespace concord {

BreakableConnection::BreakableConnection(const std::string& address) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  int port = 0;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  const int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &port) ||
      inet_pton(AF_INET, parts[0].c_str(), &to.sin_addr) != 1 ||
      connected < 0) {
    std::abort();
  }
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (connect(connected, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) !=
          0 ||
      fcntl(connected, F_SETFL, O_NONBLOCK) != 0) {
    std::abort();
  }
  // The channel owns and closes the one; this object breaks by the other.
  socket_ = dup(connected);
  channel_ = grpc::CreateInsecureChannelFromFd("breakable", connected);
}

BreakableConnection::~BreakableConnection() {
  channel_.reset();
  close(socket_);
}

void BreakableConnection::Break() { shutdown(socket_, SHUT_RDWR); }

}  // namespace concord
