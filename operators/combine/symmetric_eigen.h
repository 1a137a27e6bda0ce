// Eigenvalues and eigenvectors of a small symmetric matrix.
#ifndef CONCORD_OPERATORS_COMBINE_SYMMETRIC_EIGEN_H_
#define CONCORD_OPERATORS_COMBINE_SYMMETRIC_EIGEN_H_

#include "Eigen/Core"

namespace concord {

struct SymmetricEigen {
  Eigen::VectorXd values;   // Ascending.
  Eigen::MatrixXd vectors;  // Orthonormal columns, in the values' order.
};

// `matrix` is symmetric and finite; its lower triangle is read.
SymmetricEigen DecomposeSymmetric(const Eigen::MatrixXd& matrix);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_SYMMETRIC_EIGEN_H_
