// The frozen baselines that Concord's speed is measured against: two programs
// of one source file each, compiled as the head of the file says and run as
// they are, each in a process of its own.
#ifndef CONCORD_TESTS_BENCH_BASELINES_H_
#define CONCORD_TESTS_BENCH_BASELINES_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace concord::bench {

class Baselines {
 public:
  // Compiles fused_floor.cc and raw_echo.cc of `sources` into the folder
  // `programs` (made when absent), unless newer programs lie there already.
  // NOT_FOUND without the sources, INTERNAL with the compiler's exit status.
  static absl::StatusOr<std::unique_ptr<Baselines>> Build(
      const std::string& sources, const std::string& programs);

  // One turn of the floor of an embedded step: median milliseconds. Of more
  // than three losses: those of three, by traffic.
  absl::StatusOr<double> FloorMs(size_t n, int m, int threads, int steps) const;

  // One turn of an echo of `bytes` over a raw stream: median milliseconds.
  absl::StatusOr<double> EchoMs(size_t bytes, int steps) const;

 private:
  explicit Baselines(std::string programs) : programs_(std::move(programs)) {}

  const std::string programs_;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_BASELINES_H_
