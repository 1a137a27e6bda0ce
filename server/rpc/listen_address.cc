#include "server/rpc/listen_address.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "operators/errors.h"
#include "proto/local/loopback.h"

namespace concord {
namespace {

absl::Status Malformed(absl::string_view text) {
  return InvalidField("INVALID_OPTION", "listen", text,
                      "HOST:PORT, [IPv6]:PORT or unix:/path");
}

}  // namespace

std::string ListenAddress::WithPort(int port) const {
  if (!socket_file.empty()) return text;
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  ListenAddress address;
  address.text = std::string(text);
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return Malformed(text);
    }
    address.socket_file = std::string(rest);
    address.is_local = true;
    return address;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return Malformed(text);
  uint32_t port;
  if (!absl::SimpleAtoi(rest.substr(colon + 1), &port) || port > 65535) {
    return Malformed(text);
  }
  absl::string_view host = rest.substr(0, colon);
  const bool bracketed =
      absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty() || absl::StrContains(host, ':') != bracketed) {
    return Malformed(text);
  }
  address.host = std::string(host);
  address.is_local = local::IsLoopback(host);
  return address;
}

absl::Status RemoveStaleSocket(const std::string& path) {
  struct stat found;
  if (::lstat(path.c_str(), &found) != 0) return absl::OkStatus();
  if (!S_ISSOCK(found.st_mode)) {
    return absl::UnavailableError(
        absl::StrCat(path, " exists and is not a socket"));
  }
  const int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) {
    return absl::UnavailableError(
        absl::StrCat("no Unix socket: ", std::strerror(errno)));
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const bool alive = ::connect(file, reinterpret_cast<sockaddr*>(&address),
                               sizeof(address)) == 0;
  ::close(file);
  if (alive) {
    return absl::UnavailableError(
        absl::StrCat("another server listens on ", path));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::UnavailableError(absl::StrCat(
        "cannot remove the old socket ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace concord
