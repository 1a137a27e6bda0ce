#include "client/cpp/channel.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grpc/grpc.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "operators/errors.h"
#include "proto/local/loopback.h"
#include "proto/wire/trace_context.h"

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

absl::StatusOr<std::string> ReadFile(absl::string_view field,
                                     const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.is_open() && !file.bad()) return text;
  return InvalidField(
      "INVALID_OPTION", field, path,
      absl::StrCat("a file that can be read: ", std::strerror(errno)));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ClientOptions& options) {
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions pem;
  const struct {
    const char* field;
    const std::string& path;
    std::string* text;
  } files[] = {
      {"tls.ca_file", options.tls->ca_file, &pem.pem_root_certs},
      {"tls.cert_file", options.tls->cert_file, &pem.pem_cert_chain},
      {"tls.key_file", options.tls->key_file, &pem.pem_private_key},
  };
  for (const auto& file : files) {
    if (file.path.empty()) continue;
    absl::StatusOr<std::string> text = ReadFile(file.field, file.path);
    if (!text.ok()) return text.status();
    *file.text = *std::move(text);
  }
  return grpc::SslCredentials(pem);
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

absl::Status ValidateSecurity(absl::string_view server,
                              const ClientOptions& options) {
  if (!options.token.empty() && !options.token_file.empty()) {
    return InvalidField("INVALID_OPTION", "token_file", options.token_file,
                        "a token or a file with it, not both");
  }
  if (options.tls.has_value()) {
    if (options.tls->cert_file.empty() == options.tls->key_file.empty()) {
      return absl::OkStatus();
    }
    return InvalidField("INVALID_OPTION", "tls.key_file", options.tls->key_file,
                        "set where tls.cert_file is, and not elsewhere");
  }
  absl::string_view host = server.substr(0, server.rfind(':'));
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  const bool sends_token =
      !options.token.empty() || !options.token_file.empty();
  if (!sends_token || absl::StartsWith(server, "unix:") ||
      local::IsLoopback(host)) {
    return absl::OkStatus();
  }
  return InvalidField("INVALID_OPTION", "tls", "not set",
                      absl::StrCat("TLS: everybody between here and ", host,
                                   " could read the token"));
}

absl::StatusOr<std::string> MakeAuthorization(const ClientOptions& options) {
  std::string token = options.token;
  if (!options.token_file.empty()) {
    absl::StatusOr<std::string> text =
        ReadFile("token_file", options.token_file);
    if (!text.ok()) return text.status();
    token = std::string(absl::StripAsciiWhitespace(*text));
  }
  if (token.empty() && options.token_file.empty()) return std::string();
  // Anything else would break gRPC's call.
  const bool is_word = !token.empty() && absl::c_all_of(token, [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (is_word) return absl::StrCat("Bearer ", token);
  return InvalidField("INVALID_OPTION",
                      options.token_file.empty() ? "token" : "token_file",
                      "(not shown)", "one word of ASCII characters");
}

absl::Status ValidateTraceparent(absl::string_view field,
                                 absl::string_view traceparent) {
  if (traceparent.empty() || ParseTraceparent(traceparent).is_set()) {
    return absl::OkStatus();
  }
  return InvalidField("INVALID_OPTION", field, traceparent,
                      "W3C's traceparent, 00-{32 hexadecimal digits}-{16}-{2}");
}

void Line::Prepare(grpc::ClientContext* context) const {
  if (!traceparent.empty()) context->AddMetadata(kTraceparent, traceparent);
  if (!authorization.empty()) {
    context->AddMetadata("authorization", authorization);
  }
}

absl::StatusOr<Line> MakeLine(const std::string& server,
                              const ClientOptions& options) {
  KeepLibrary();
  const absl::StatusOr<std::string> authorization = MakeAuthorization(options);
  if (!authorization.ok()) return authorization.status();
  const auto credentials = MakeCredentials(options);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
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
  return Line{grpc::CreateCustomChannel(server, *credentials, arguments),
              *authorization, options.traceparent};
}

}  // namespace concord
