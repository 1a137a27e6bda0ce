// GradDrop: in every column only the values of one sign stay, drawn with the
// probability that the signs' sums suggest; see column_rule.h for the formula
// and the paper. Guarantees nothing where vectors conflict. O(m n), no solve.
//
// State: the number of solved steps. The draws are a function of seed, step and
// column alone. A column of zeros gives 0.
#ifndef CONCORD_OPERATORS_COMBINE_GRADDROP_H_
#define CONCORD_OPERATORS_COMBINE_GRADDROP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

struct GradDropOptions {
  uint64_t seed = 0;
  // What stays of a value that is dropped: one part in [0, 1] per vector, or
  // empty for 0.
  std::vector<double> leak;
  bool operator==(const GradDropOptions&) const = default;
};

inline constexpr char kGradDropName[] = "GradDropOperator";

absl::StatusOr<std::unique_ptr<Combiner>> MakeGradDrop(
    const GradDropOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_GRADDROP_H_
