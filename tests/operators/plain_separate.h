// Separate momenta written down plainly in float64: the oracle of the tests of
// SeparateMomentumOperator. Shares nothing with the code under test.
#ifndef CONCORD_TESTS_OPERATORS_PLAIN_SEPARATE_H_
#define CONCORD_TESTS_OPERATORS_PLAIN_SEPARATE_H_

#include <vector>

#include "Eigen/Core"

namespace concord {

class PlainSeparate {
 public:
  PlainSeparate(int m, Eigen::Index n, double beta_1, double beta_2);

  void Ingest(int index, const Eigen::VectorXd& gradient);

  bool warming_up() const {
    for (const int count : counts_) {
      if (count == 0) return true;
    }
    return false;
  }

  // The rescaled momenta.
  Eigen::MatrixXd Rows() const;

 private:
  const double beta_1_, beta_2_;
  Eigen::MatrixXd first_, second_;
  std::vector<int> counts_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_PLAIN_SEPARATE_H_
