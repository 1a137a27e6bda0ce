// The command line of concord-server. Flags live here and nowhere else.
#ifndef CONCORD_SERVER_SERVER_OPTIONS_H_
#define CONCORD_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/session/limits.h"

namespace concord {

struct ServerOptions {
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  std::string tls_certificate, tls_key, tls_client_ca;
  std::string token_file;
  bool allow_insecure_remote = false;
  std::string device = "auto";  // auto, cpu, cuda, cuda:<i>
  int threads = 1;
  std::string metrics_listen;  // Empty: nowhere.
  Limits limits;
  std::string state_dir;                 // Empty: nothing is durable.
  std::string crash_at;                  // Of tests: "phase:count".
  uint64_t max_shared_memory_bytes = 0;  // 0: no shared memory.
  absl::Duration drain_timeout = absl::Seconds(30);
};

// The options, or the exit code with which to leave: everything was said
// (--help, --version, or what is wrong with an argument).
std::variant<ServerOptions, int> ParseServerOptions(int argc, char** argv);

}  // namespace concord

#endif  // CONCORD_SERVER_SERVER_OPTIONS_H_
