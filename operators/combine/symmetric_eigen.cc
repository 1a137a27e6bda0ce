#include "operators/combine/symmetric_eigen.h"

#include "Eigen/Eigenvalues"

namespace concord {

SymmetricEigen DecomposeSymmetric(const Eigen::MatrixXd& matrix) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
  return {solver.eigenvalues(), solver.eigenvectors()};
}

}  // namespace concord
