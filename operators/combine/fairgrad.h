// FairGrad (Ban, Ji: "Fair Resource Allocation in Multi-Task Learning", ICML
// 2024, eq. 4): the weights that are alpha-fair in what each loss gains,
//   K c = c^(-1/alpha), element by element, c > 0.
// alpha = 1 is NashMTL without clipping, alpha -> infinity equal products
// (K c = 1), alpha = 0 the mean. Conflict-free for alpha > 0: the products are
// powers of positive numbers. Solved to rounding (fair_equations.h).
//
// The weights are powers: with alpha beyond [0.05, 10] those of badly scaled
// vectors would leave the range of numbers.
//
// Zero vectors are dropped (for alpha = 0 they count). Zero within 1e-6 of the
// convex hull of the unit vectors, where there is no solution: 0 with
// pareto_stationary. O(m^3) per Newton step, about ten of them.
#ifndef CONCORD_OPERATORS_COMBINE_FAIRGRAD_H_
#define CONCORD_OPERATORS_COMBINE_FAIRGRAD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kFairGradName[] = "FairGradOperator";

struct FairGradOptions {
  double alpha = 1;  // 0, or in [0.05, 10].
  bool operator==(const FairGradOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeFairGrad(
    const FairGradOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_FAIRGRAD_H_
