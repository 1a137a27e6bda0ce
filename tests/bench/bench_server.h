// A server in this process, on a free loopback port.
#ifndef CONCORD_TESTS_BENCH_BENCH_SERVER_H_
#define CONCORD_TESTS_BENCH_BENCH_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace concord::bench {

class BenchServer {
 public:
  virtual ~BenchServer() = default;
  virtual std::string address() const = 0;  // "127.0.0.1:43071"
};

// `threads` of the cpu backend; logs nothing.
absl::StatusOr<std::unique_ptr<BenchServer>> StartBenchServer(int threads);

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_BENCH_SERVER_H_
