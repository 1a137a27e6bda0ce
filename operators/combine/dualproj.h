// DualProj (Lopez-Paz, Ranzato: "Gradient Episodic Memory for Continual
// Learning", NeurIPS 2017, eq. 11): the mean of the vectors, or their sum with
// the preference's weights p, projected onto the dual cone (the vectors that
// conflict with none). In Gram form
//   c = argmin x'Kx over x >= p,
// exactly, by an active set (quadratic_program.h).
//
// With reg_eps = 0: no negative product with any vector; the product is zero
// with those that the projection had to correct, so conflict_free is false
// where there were conflicts. With reg_eps > 0 (K + reg_eps trace(K) I in the
// place of K) that is not promised. Zero vectors count in the mean. A mean
// whose projection vanishes: 0 with pareto_stationary. O(m^4) at worst.
#ifndef CONCORD_OPERATORS_COMBINE_DUALPROJ_H_
#define CONCORD_OPERATORS_COMBINE_DUALPROJ_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kDualProjName[] = "DualProjOperator";

struct DualProjOptions {
  std::vector<double> preference;  // One per vector, > 0; empty: 1/m each.
  double reg_eps = 0;              // Of the trace of K; finite, >= 0.
  bool operator==(const DualProjOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeDualProj(
    const DualProjOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_DUALPROJ_H_
