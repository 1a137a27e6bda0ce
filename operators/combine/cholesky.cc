#include "operators/combine/cholesky.h"

#include <cmath>

namespace concord {

bool SolvePositive(const Eigen::MatrixXd& matrix, const Eigen::VectorXd& right,
                   double cutoff, Eigen::VectorXd* solution) {
  const Eigen::Index size = matrix.rows();
  Eigen::MatrixXd lower = Eigen::MatrixXd::Zero(size, size);
  for (Eigen::Index j = 0; j < size; ++j) {
    const double pivot = matrix(j, j) - lower.row(j).head(j).squaredNorm();
    // Negated, so that a NaN is refused too.
    if (!(pivot > cutoff * matrix(j, j))) return false;
    lower(j, j) = std::sqrt(pivot);
    for (Eigen::Index i = j + 1; i < size; ++i) {
      lower(i, j) =
          (matrix(i, j) - lower.row(i).head(j).dot(lower.row(j).head(j))) /
          lower(j, j);
    }
  }
  Eigen::VectorXd x = right;
  for (Eigen::Index i = 0; i < size; ++i) {
    x[i] = (x[i] - lower.row(i).head(i).dot(x.head(i))) / lower(i, i);
  }
  for (Eigen::Index i = size - 1; i >= 0; --i) {
    const Eigen::Index below = size - i - 1;
    x[i] = (x[i] - lower.col(i).tail(below).dot(x.tail(below))) / lower(i, i);
  }
  *solution = x;
  return true;
}

}  // namespace concord
