// Constant weights: c_i = w_i (linear scalarisation). Zero vectors count.
// Guarantees nothing where vectors conflict. O(m^2).
#ifndef CONCORD_OPERATORS_COMBINE_CONSTANT_H_
#define CONCORD_OPERATORS_COMBINE_CONSTANT_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kConstantName[] = "ConstantOperator";

struct ConstantOptions {
  std::vector<double> weights;  // One per vector; finite, > 0.
  bool operator==(const ConstantOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeConstant(
    const ConstantOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_CONSTANT_H_
