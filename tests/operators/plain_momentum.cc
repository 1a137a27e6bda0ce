#include "tests/operators/plain_momentum.h"

#include <cmath>

#include "Eigen/QR"

namespace concord {

Eigen::VectorXd PlainConFIG(const Eigen::MatrixXd& vectors,
                            const Eigen::VectorXd& weights) {
  Eigen::MatrixXd units = vectors;
  for (Eigen::Index i = 0; i < units.rows(); ++i) units.row(i).normalize();
  Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd> decomposition;
  decomposition.setThreshold(1e-9);
  decomposition.compute(units);
  const Eigen::VectorXd unit = decomposition.solve(weights).normalized();
  return (vectors * unit).sum() * unit;
}

PlainMomentum::PlainMomentum(int m, Eigen::Index n, double beta_1,
                             double beta_2)
    : beta_1_(beta_1),
      beta_2_(beta_2),
      momenta_(Eigen::MatrixXd::Zero(m, n)),
      counts_(m, 0),
      second_(Eigen::VectorXd::Zero(n)),
      previous_(Eigen::VectorXd::Zero(n)) {}

Eigen::VectorXd PlainMomentum::Step(const std::vector<int>& indexes,
                                    const Eigen::MatrixXd& gradients) {
  for (size_t k = 0; k < indexes.size(); ++k) {
    momenta_.row(indexes[k]) =
        beta_1_ * momenta_.row(indexes[k]) + (1 - beta_1_) * gradients.row(k);
    ++counts_[indexes[k]];
  }
  Eigen::MatrixXd corrected = momenta_;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) return Eigen::VectorXd::Zero(second_.size());
    corrected.row(i) /= 1 - std::pow(beta_1_, counts_[i]);
  }
  ++steps_;
  direction_ = PlainConFIG(corrected, Eigen::VectorXd::Ones(corrected.rows()));
  const Eigen::VectorXd f = direction_ * (1 - std::pow(beta_1_, steps_));
  const Eigen::VectorXd pseudo = (f - beta_1_ * previous_) / (1 - beta_1_);
  previous_ = f;
  second_ = beta_2_ * second_ + (1 - beta_2_) * pseudo.cwiseAbs2();
  const Eigen::VectorXd corrected_second =
      second_ / (1 - std::pow(beta_2_, steps_));
  return direction_.array() / (corrected_second.array().sqrt() + 1e-8);
}

void PlainMomentum::Rearrange(const std::vector<Eigen::Index>& places) {
  const auto moved = [&](const Eigen::VectorXd& vector) {
    Eigen::VectorXd result = Eigen::VectorXd::Zero(places.size());
    for (size_t e = 0; e < places.size(); ++e) {
      if (places[e] >= 0) result[e] = vector[places[e]];
    }
    return result;
  };
  Eigen::MatrixXd momenta(momenta_.rows(), places.size());
  for (Eigen::Index i = 0; i < momenta_.rows(); ++i) {
    momenta.row(i) = moved(momenta_.row(i));
  }
  momenta_ = momenta;
  second_ = moved(second_);
  previous_ = moved(previous_);
}

}  // namespace concord
