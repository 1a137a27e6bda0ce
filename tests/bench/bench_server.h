// The server's program, as a process of its own, on a free loopback port or a
// Unix socket in a folder of its own.
#ifndef CONCORD_TESTS_BENCH_BENCH_SERVER_H_
#define CONCORD_TESTS_BENCH_BENCH_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace concord::bench {

class BenchServer {
 public:
  // Runs concord-server, which lies beside this program, on the cpu with
  // `threads`; returns when it is ready. `certificates`: a folder with
  // server.pem and server.key for TLS; empty: none.
  static absl::StatusOr<std::unique_ptr<BenchServer>> Start(
      int threads, bool on_unix_socket, const std::string& certificates);

  // Ends the process and waits for it.
  ~BenchServer();
  BenchServer(const BenchServer&) = delete;
  BenchServer& operator=(const BenchServer&) = delete;

  // As a client takes it: "127.0.0.1:43071", "unix:/path".
  const std::string& address() const { return address_; }

 private:
  explicit BenchServer(std::string folder) : folder_(std::move(folder)) {}
  absl::Status Spawn(int threads, const std::string& certificates);
  absl::Status ReadAddress(int output);

  const std::string folder_;  // Of the socket; empty: a port.
  pid_t pid_ = 0;             // 0: none runs.
  std::string address_;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_BENCH_SERVER_H_
