// Small convex quadratic programs over Gram matrices, solved exactly: an active
// set method (Lawson and Hanson, "Solving Least Squares Problems", ch. 23, in
// Gram form), not an iteration towards a tolerance. The result is the solution
// of the linear equations of its active set.
//
// `gram` is symmetric and positive semi-definite up to rounding; any rank,
// duplicates included. Rows are scaled to unit length first, so the accuracy
// does not depend on the scales of the vectors. The residual of the optimality
// conditions is some 1e-13 of |v_i| sum_j |v_j| |x_j| in row i. Vectors
// within rounding of the span of the free ones take their place or stay bound:
// the free ones are always independent.
//
// Cost: some m small Cholesky decompositions, O(m^4) at worst; m = 8 takes a
// few microseconds.
#ifndef CONCORD_OPERATORS_COMBINE_QUADRATIC_PROGRAM_H_
#define CONCORD_OPERATORS_COMBINE_QUADRATIC_PROGRAM_H_

#include "Eigen/Core"

namespace concord {

// min 1/2 y'Ky + q'y over y >= 0. It must be bounded from below: q in the range
// of K plus the non-negative vectors. Rows with K_ii = 0 get y_i = 0. `noise`
// is the rounding already in q_i |v_i|^-1, absolute.
Eigen::VectorXd MinimizeNonNegative(const Eigen::MatrixXd& gram,
                                    const Eigen::VectorXd& linear,
                                    double noise = 0);

// min x'Kx over x >= bounds: x are the weights of the projection of
// sum_i bounds_i v_i onto the dual cone of the vectors. Rows with K_ii = 0 get
// x_i = bounds_i.
Eigen::VectorXd MinimizeAboveBounds(const Eigen::MatrixXd& gram,
                                    const Eigen::VectorXd& bounds);

// min x'Kx over x >= 0, sum_i x_i = 1: the weights of the point of the convex
// hull that is nearest to zero. With a zero vector: all weight on the first.
Eigen::VectorXd MinimizeOverSimplex(const Eigen::MatrixXd& gram);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_QUADRATIC_PROGRAM_H_
