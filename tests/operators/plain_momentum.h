// M-ConFIG written down plainly in float64, with whole vectors and a
// pseudo-inverse by complete orthogonal decomposition: the oracle of the
// momentum tests. Shares nothing with the code under test.
#ifndef CONCORD_TESTS_OPERATORS_PLAIN_MOMENTUM_H_
#define CONCORD_TESTS_OPERATORS_PLAIN_MOMENTUM_H_

#include <vector>

#include "Eigen/Core"

namespace concord {

// The ConFIG direction of the rows of `vectors`, at least one of them non-zero.
Eigen::VectorXd PlainConFIG(const Eigen::MatrixXd& vectors,
                            const Eigen::VectorXd& weights);

class PlainMomentum {
 public:
  PlainMomentum(int m, Eigen::Index n, double beta_1, double beta_2);

  Eigen::VectorXd Step(const std::vector<int>& indexes,
                       const Eigen::MatrixXd& gradients);

  // Other parameters: the e-th one is what the `places[e]`-th was, -1: new.
  void Rearrange(const std::vector<Eigen::Index>& places);

  const Eigen::VectorXd& direction() const { return direction_; }

 private:
  const double beta_1_, beta_2_;
  Eigen::MatrixXd momenta_;
  std::vector<int> counts_;
  int steps_ = 0;
  Eigen::VectorXd second_, previous_, direction_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_PLAIN_MOMENTUM_H_
