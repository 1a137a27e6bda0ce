// The flags by which every command finds a server, and says who calls.
#ifndef CONCORD_CLIENT_CLI_SERVER_FLAGS_H_
#define CONCORD_CLIENT_CLI_SERVER_FLAGS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace concord {

struct ServerFlags {
  std::string server;
  TlsOptions tls;
  std::string token_file;

  // Adds --server, --tls-ca, --tls-cert, --tls-key, --tls-server-name and
  // --token-file, which the environment gives, too (client/cpp/options.h); a
  // token itself it alone gives, as command lines can be seen by others.
  // Returns --server. The flags outlive the parser.
  CLI::Option* AddTo(CLI::App* parser);

  absl::StatusOr<std::unique_ptr<Client>> Connect(
      const RetryOptions& retry = {}) const;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_SERVER_FLAGS_H_
