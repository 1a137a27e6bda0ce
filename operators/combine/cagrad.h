// CAGrad (Liu, Liu, Jin, Stone, Liu: "Conflict-Averse Gradient Descent for
// Multi-task Learning", NeurIPS 2021, eq. 3): the direction that maximises the
// smallest product with a vector within a ball about the mean g_0,
//   max_d min_i <v_i, d>  over |d - g_0| <= c |g_0|.
// Its dual over the simplex, with g_w = sum_i w_i v_i and f = (c |g_0|)^2,
//   min_w <g_w, g_0> + sqrt(f) |g_w|,  d = g_0 + sqrt(f) / |g_w| g_w.
// In Gram form, exactly: with b = K 1 / m and z = sqrt(f) / |g_w| w,
//   z(u) = argmin 1/2 z'Kz + (b - u 1)'z over z >= 0,  z'Kz = f,
// where u is the largest smallest product. z'Kz rises with u and is quadratic
// on each active set: u is a root found on the right one, not an iteration
// towards a tolerance. No rescaling beyond the paper's.
//
// c = 0 is the mean; c >= 1 reaches every direction without conflict. Conflict-
// free only where u > 0. Zero vectors count. Where g_w = 0 is optimal, or the
// mean vanishes: 0 with pareto_stationary. At exact ties (c = 1, vectors v and
// -3v) the maximiser is not unique. O(m^4) at worst times the sets visited.
#ifndef CONCORD_OPERATORS_COMBINE_CAGRAD_H_
#define CONCORD_OPERATORS_COMBINE_CAGRAD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kCAGradName[] = "CAGradOperator";

struct CAGradOptions {
  double c = 0.5;  // Radius of the ball, of the mean's length; finite, >= 0.
  bool operator==(const CAGradOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeCAGrad(
    const CAGradOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_CAGRAD_H_
