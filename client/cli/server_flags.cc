#include "client/cli/server_flags.h"

#include "CLI/CLI.hpp"
#include "client/cpp/options.h"

namespace concord {

CLI::Option* ServerFlags::AddTo(CLI::App* parser) {
  CLI::Option* const option =
      parser
          ->add_option("--server", server,
                       "The server, HOST:PORT or unix:/path")
          ->envname("CONCORD_SERVER");
  const std::string group = "Security";
  parser
      ->add_option("--tls-ca", tls.ca_file,
                   "TLS: who may issue the server's certificate, a PEM file; "
                   "\"system\": whom this machine trusts")
      ->envname("CONCORD_TLS_CA")
      ->group(group);
  parser->add_option("--tls-cert", tls.cert_file, "TLS: one's own certificate")
      ->envname("CONCORD_TLS_CERT")
      ->group(group);
  parser->add_option("--tls-key", tls.key_file, "TLS: its key")
      ->envname("CONCORD_TLS_KEY")
      ->group(group);
  parser
      ->add_option("--tls-server-name", tls.server_name,
                   "TLS: the name in the server's certificate, where it is not "
                   "the address's host")
      ->envname("CONCORD_TLS_SERVER_NAME")
      ->group(group);
  parser
      ->add_option("--token-file", token_file,
                   "File with the token that says who calls (the token itself: "
                   "CONCORD_TOKEN)")
      ->envname("CONCORD_TOKEN_FILE")
      ->group(group);
  return option;
}

absl::StatusOr<std::unique_ptr<Client>> ServerFlags::Connect(
    const RetryOptions& retry) const {
  ClientOptions options = ClientOptionsFromEnvironment();
  options.retry = retry;
  options.tls.reset();
  TlsOptions given = tls;
  if (!given.ca_file.empty() || !given.cert_file.empty() ||
      !given.key_file.empty() || !given.server_name.empty()) {
    if (given.ca_file == "system") given.ca_file.clear();
    options.tls = given;
  }
  options.token_file = token_file;
  if (!token_file.empty()) options.token.clear();
  return Client::Connect(server, options);
}

}  // namespace concord
