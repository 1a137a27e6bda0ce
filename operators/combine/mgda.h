// MGDA (Désidéri: "Multiple-gradient descent algorithm (MGDA) for
// multiobjective optimization", 2012): the shortest vector of the convex hull,
//   min c'Kc over c >= 0, sum_i c_i = 1,
// exactly, by an active set (quadratic_program.h), where Frank and Wolfe's
// iteration stops early. Conflict-free: (K c)_i >= |d|^2 for every i. Dominated
// by the shortest vectors; not scale-invariant.
//
// |d| <= 1e-6 sum_i c_i |v_i| (zero is in the hull): 0 with pareto_stationary.
// So does a zero vector, which counts. O(m^4) at worst.
#ifndef CONCORD_OPERATORS_COMBINE_MGDA_H_
#define CONCORD_OPERATORS_COMBINE_MGDA_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kMGDAName[] = "MGDAOperator";

struct MGDAOptions {
  bool operator==(const MGDAOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeMGDA(const MGDAOptions& options,
                                                   int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_MGDA_H_
