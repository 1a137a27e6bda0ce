// What the methods' m x m algebra costs, without anything around it.
#ifndef CONCORD_TESTS_BENCH_SOLVE_TIMES_H_
#define CONCORD_TESTS_BENCH_SOLVE_TIMES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace concord::bench {

struct SolveTime {
  std::string method;
  double microseconds = 0;  // Median over the matrices.
  double limit = 0;         // What it is to stay below.
};

// Every method with coefficients at its default options, on Gram matrices of
// `num_vectors` random vectors; in half of them two oppose each other to 1e-2.
absl::StatusOr<std::vector<SolveTime>> MeasureSolves(int num_vectors,
                                                     int matrices);

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_SOLVE_TIMES_H_
