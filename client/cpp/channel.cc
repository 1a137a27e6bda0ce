#include "client/cpp/channel.h"

#include <algorithm>
#include <climits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "grpc/grpc.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "operators/errors.h"

namespace concord {
namespace {

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, INT_MAX));
}

// When its last object goes, gRPC shuts itself down and waits up to ten seconds
// for a poller that a large write has left behind; the next object starts all
// over. Kept for the rest of the process, it does neither.
void KeepLibrary() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();
    return true;
  }();
}

bool IsHostAndPort(absl::string_view server) {
  const size_t colon = server.rfind(':');
  uint32_t port;
  return colon != absl::string_view::npos && colon > 0 &&
         absl::SimpleAtoi(server.substr(colon + 1), &port) && port >= 1 &&
         port <= 65535 && !absl::StrContains(server, "/");
}

}  // namespace

absl::Status ValidateServer(absl::string_view server) {
  const bool valid = absl::StartsWith(server, "unix:")
                         ? server.size() > sizeof("unix:") - 1
                         : IsHostAndPort(server);
  if (valid) return absl::OkStatus();
  return InvalidField("INVALID_OPTION", "server", server,
                      "HOST:PORT or unix:/path");
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server,
                                           const ClientOptions& options) {
  KeepLibrary();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   Milliseconds(options.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   Milliseconds(options.keepalive_timeout));
  // A rank may wait for the others for minutes without any data.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Retrying is done here, by step; gRPC's own retries keep sent messages.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   Milliseconds(options.retry.initial_backoff));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   Milliseconds(options.retry.max_backoff));
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace concord
