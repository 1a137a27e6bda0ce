// Cholesky decomposition that says when a small matrix is not definite.
#ifndef CONCORD_OPERATORS_COMBINE_CHOLESKY_H_
#define CONCORD_OPERATORS_COMBINE_CHOLESKY_H_

#include "Eigen/Core"

namespace concord {

// Solves A x = b for a symmetric positive definite A. False, with `solution`
// untouched, where a pivot is at most `cutoff` of its diagonal entry: the row
// depends on those before it.
bool SolvePositive(const Eigen::MatrixXd& matrix, const Eigen::VectorXd& right,
                   double cutoff, Eigen::VectorXd* solution);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_CHOLESKY_H_
