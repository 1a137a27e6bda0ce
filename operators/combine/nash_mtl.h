// NashMTL (Navon et al.: "Multi-Task Learning as a Bargaining Game", ICML 2022,
// eq. 4): Nash's bargaining solution, the weights a > 0 with
//   K a = 1 / a, element by element,
// K not normalised, solved to rounding (fair_equations.h) where the paper
// iterates on a linearised problem. The solution is unique. The direction is
// conflict-free and invariant to the vectors' scales, of length sqrt(m) before
// clipping; it is shortened to max_norm where it is longer.
//
// Zero vectors are dropped. Zero within 1e-6 of the convex hull of the unit
// vectors, where there is no solution: 0 with pareto_stationary. O(m^3) per
// Newton step, about ten of them.
//
// State: none with update_every = 1. Else the number of solved steps and the
// weights of all of the operator's vectors, before clipping, which are used
// again until update_every steps have gone by or a non-zero vector has none.
#ifndef CONCORD_OPERATORS_COMBINE_NASH_MTL_H_
#define CONCORD_OPERATORS_COMBINE_NASH_MTL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kNashMTLName[] = "NashMTLOperator";

struct NashMTLOptions {
  double max_norm = 1;   // Finite, >= 0; 0: no clipping.
  int update_every = 1;  // >= 1: steps between two solutions.
  bool operator==(const NashMTLOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeNashMTL(
    const NashMTLOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_NASH_MTL_H_
