// Mean of the vectors: c_i = 1/m. What a mean of the losses would give.
// Zero vectors count. Guarantees nothing where vectors conflict. O(m^2).
#ifndef CONCORD_OPERATORS_COMBINE_MEAN_H_
#define CONCORD_OPERATORS_COMBINE_MEAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kMeanName[] = "MeanOperator";

struct MeanOptions {
  bool operator==(const MeanOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeMean(const MeanOptions& options,
                                                   int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_MEAN_H_
