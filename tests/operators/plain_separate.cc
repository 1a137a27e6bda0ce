#include "tests/operators/plain_separate.h"

#include <cmath>

namespace concord {

PlainSeparate::PlainSeparate(int m, Eigen::Index n, double beta_1,
                             double beta_2)
    : beta_1_(beta_1),
      beta_2_(beta_2),
      first_(Eigen::MatrixXd::Zero(m, n)),
      second_(Eigen::MatrixXd::Zero(m, n)),
      counts_(m, 0) {}

void PlainSeparate::Ingest(int index, const Eigen::VectorXd& gradient) {
  first_.row(index) =
      beta_1_ * first_.row(index).transpose() + (1 - beta_1_) * gradient;
  second_.row(index) = beta_2_ * second_.row(index).transpose() +
                       (1 - beta_2_) * gradient.cwiseAbs2();
  ++counts_[index];
}

Eigen::MatrixXd PlainSeparate::Rows() const {
  Eigen::MatrixXd rows = first_;
  for (Eigen::Index i = 0; i < rows.rows(); ++i) {
    const Eigen::ArrayXd first =
        first_.row(i).array() / (1 - std::pow(beta_1_, counts_[i]));
    const Eigen::ArrayXd second =
        second_.row(i).array() / (1 - std::pow(beta_2_, counts_[i]));
    rows.row(i) = first / (second.sqrt() + 1e-8);
  }
  return rows;
}

}  // namespace concord
