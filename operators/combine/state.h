// Small helpers of the combiners that remember something.
#ifndef CONCORD_OPERATORS_COMBINE_STATE_H_
#define CONCORD_OPERATORS_COMBINE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

// input.state, or `size` zeros where there is none yet. INVALID_ARGUMENT
// (INVALID_OPTION) where it has another size or a number that is not finite.
absl::StatusOr<std::vector<double>> StateOrZeros(const CombineInput& input,
                                                 size_t size);

// The operator's index of row i.
inline int IndexOf(const CombineInput& input, Eigen::Index i) {
  return input.indexes.empty() ? static_cast<int>(i) : input.indexes[i];
}

// Vectors of the operator: `num_vectors`, or where that is 0 (any number) as
// many as the rows and their indexes need.
int NumVectors(const CombineInput& input, int num_vectors);

// A counter kept in a state. Counts that no session reaches start again at 0.
inline uint64_t ToStep(double state) {
  return state >= 0 && state < 0x1p53 ? static_cast<uint64_t>(state) : 0;
}

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_STATE_H_
