// The server's program, as a process of its own, on a free loopback port.
#ifndef CONCORD_TESTS_BENCH_BENCH_SERVER_H_
#define CONCORD_TESTS_BENCH_BENCH_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace concord::bench {

class BenchServer {
 public:
  // Runs concord-server, which lies beside this program, on the cpu with
  // `threads`; returns when it is ready.
  static absl::StatusOr<std::unique_ptr<BenchServer>> Start(int threads);

  // Ends the process and waits for it.
  ~BenchServer();
  BenchServer(const BenchServer&) = delete;
  BenchServer& operator=(const BenchServer&) = delete;

  const std::string& address() const { return address_; }  // "127.0.0.1:43071"

 private:
  explicit BenchServer(pid_t pid) : pid_(pid) {}
  absl::Status ReadAddress(int output);

  const pid_t pid_;
  std::string address_;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_BENCH_SERVER_H_
