// The equations of NashMTL and FairGrad: K w = w^-p, element by element, w > 0.
#ifndef CONCORD_OPERATORS_COMBINE_FAIR_EQUATIONS_H_
#define CONCORD_OPERATORS_COMBINE_FAIR_EQUATIONS_H_

#include "Eigen/Core"
#include "absl/types/optional.h"

namespace concord {

// The unique solution, or none where zero is within 1e-6 of the convex hull of
// the unit vectors: there is no solution where it is in the hull. `gram` has no
// zero rows; p > 0.
//
// It is the minimum of a convex function, 1/2 w'Kw minus the integral of w^-p,
// found by Newton's method in units of each w_i itself: the matrix of the step
// is definite and its condition does not depend on the vectors' scales. Steps
// that overshoot are halved; the last ones converge quadratically, to rounding.
absl::optional<Eigen::VectorXd> SolveFairEquations(const Eigen::MatrixXd& gram,
                                                   double p);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_FAIR_EQUATIONS_H_
