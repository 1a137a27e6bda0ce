#include "client/cpp/options.h"

#include <cstdlib>
#include <utility>

#include "proto/wire/trace_context.h"

namespace concord {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

ClientOptions ClientOptionsFromEnvironment() {
  ClientOptions options;
  TlsOptions tls;
  tls.ca_file = Variable("CONCORD_TLS_CA");
  tls.cert_file = Variable("CONCORD_TLS_CERT");
  tls.key_file = Variable("CONCORD_TLS_KEY");
  tls.server_name = Variable("CONCORD_TLS_SERVER_NAME");
  if (!tls.ca_file.empty() || !tls.cert_file.empty() || !tls.key_file.empty() ||
      !tls.server_name.empty()) {
    if (tls.ca_file == "system") tls.ca_file.clear();
    options.tls = tls;
  }
  options.token = Variable("CONCORD_TOKEN");
  options.token_file = Variable("CONCORD_TOKEN_FILE");
  std::string traceparent = Variable("TRACEPARENT");
  if (ParseTraceparent(traceparent).is_set()) {
    options.traceparent = std::move(traceparent);
  }
  return options;
}

}  // namespace concord
