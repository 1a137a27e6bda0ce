// What it costs that every step outlives the process.
#ifndef CONCORD_TESTS_BENCH_DURABILITY_COST_H_
#define CONCORD_TESTS_BENCH_DURABILITY_COST_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/measurement.h"

namespace concord::bench {

struct DurabilityCost {
  Figure none, step;
  double ratio = 0;  // Median over the turns.
};

// Embedded steps of one updated loss, so that nothing hides the difference, in
// turns: with vectors in memory (durability `none`), and as a session of
// durability `step` takes them: vectors in a state file in `directory`, the
// committed ones never written, and after each step the record of everything
// small is completed and switched to.
absl::StatusOr<DurabilityCost> MeasureDurability(const std::string& directory,
                                                 size_t n, int m, int threads,
                                                 int turns, int steps);

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_DURABILITY_COST_H_
