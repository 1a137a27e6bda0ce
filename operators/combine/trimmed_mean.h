// TrimmedMean: in every column the mean without the largest and the smallest
// values; see column_rule.h for the paper. Robust against `trim_number`
// arbitrary vectors; guarantees nothing where vectors conflict. O(m n), no
// solve, no state. Zero vectors count.
#ifndef CONCORD_OPERATORS_COMBINE_TRIMMED_MEAN_H_
#define CONCORD_OPERATORS_COMBINE_TRIMMED_MEAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

struct TrimmedMeanOptions {
  // Values left out at either end, >= 0; a step needs more than twice as many
  // vectors: INVALID_ARGUMENT otherwise.
  int trim_number = 0;
  bool operator==(const TrimmedMeanOptions&) const = default;
};

inline constexpr char kTrimmedMeanName[] = "TrimmedMeanOperator";

absl::StatusOr<std::unique_ptr<Combiner>> MakeTrimmedMean(
    const TrimmedMeanOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_TRIMMED_MEAN_H_
