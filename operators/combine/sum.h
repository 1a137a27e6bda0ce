// Sum of the vectors: c_i = 1. The gradient of the sum of the losses.
// Zero vectors count. Guarantees nothing where vectors conflict. O(m^2).
#ifndef CONCORD_OPERATORS_COMBINE_SUM_H_
#define CONCORD_OPERATORS_COMBINE_SUM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kSumName[] = "SumOperator";

struct SumOptions {
  bool operator==(const SumOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeSum(const SumOptions& options,
                                                  int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_SUM_H_
