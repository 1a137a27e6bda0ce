// UPGrad (Quinton, Rey: "Jacobian Descent for Multi-Objective Optimization",
// 2024, eq. 3): every vector is projected onto the dual cone of all (the
// vectors that conflict with none); the projections are averaged, or summed
// with the preference's weights p. In Gram form
//   x_i = argmin x'Kx over x >= p_i e_i,  c = sum_i x_i,
// each exactly, by an active set (quadratic_program.h).
//
// With reg_eps = 0: no negative product with any vector, and a positive one
// where the vectors are independent. With reg_eps > 0 (K + reg_eps trace(K) I
// in the place of K) that is not promised. Zero vectors count in the mean.
// Vectors of which each projection vanishes: 0 with pareto_stationary.
// O(m^5) at worst; m = 8 takes some 50 microseconds.
#ifndef CONCORD_OPERATORS_COMBINE_UPGRAD_H_
#define CONCORD_OPERATORS_COMBINE_UPGRAD_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kUPGradName[] = "UPGradOperator";

struct UPGradOptions {
  std::vector<double> preference;  // One per vector, > 0; empty: 1/m each.
  double reg_eps = 0;              // Of the trace of K; finite, >= 0.
  bool operator==(const UPGradOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeUPGrad(
    const UPGradOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_UPGRAD_H_
