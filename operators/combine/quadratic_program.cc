#include "operators/combine/quadratic_program.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "operators/combine/cholesky.h"
#include "operators/combine/gram.h"

namespace concord {
namespace {

using Index = Eigen::Index;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// min 1/2 y'Cy + q'y over y >= 0, for C with a unit diagonal.
class ActiveSet {
 public:
  ActiveSet(const Eigen::MatrixXd& cosines, const Eigen::VectorXd& linear,
            double noise)
      : cosines_(cosines),
        linear_(linear),
        noise_(noise + linear.cwiseAbs().maxCoeff()),
        y_(Eigen::VectorXd::Zero(linear.size())),
        refused_(linear.size(), false) {}

  Eigen::VectorXd Solve() {
    // Every accepted change lowers the objective, so the sets never repeat;
    // the bound is for rounding alone.
    const Index most = 20 * (linear_.size() + 5);
    for (Index step = 0; step < most; ++step) {
      const Index entering = Entering();
      if (entering < 0) break;
      free_.push_back(entering);
      if (!Descend()) refused_[entering] = true;
    }
    return y_;
  }

 private:
  // The bound variable along which the objective falls most steeply; -1 where
  // it falls along none beyond rounding.
  Index Entering() const {
    const double tolerance =
        8 * kEpsilon * linear_.size() * (y_.cwiseAbs().sum() + noise_);
    double steepest = -tolerance;
    Index entering = -1;
    const Eigen::VectorXd gradient = cosines_ * y_ + linear_;
    for (Index i = 0; i < gradient.size(); ++i) {
      if (gradient[i] >= steepest || refused_[i]) continue;
      if (std::find(free_.begin(), free_.end(), i) != free_.end()) continue;
      steepest = gradient[i];
      entering = i;
    }
    return entering;
  }

  // Moves to the minimum over the free variables, binding those that would
  // become negative on the way. False, with nothing changed, where the last
  // one cannot be freed.
  bool Descend() {
    bool first = true;
    Eigen::VectorXd target;
    while (!free_.empty()) {
      const Eigen::VectorXd right = -linear_(free_);
      const double cutoff = 4 * kEpsilon * static_cast<double>(free_.size());
      const bool solved =
          SolvePositive(cosines_(free_, free_), right, cutoff, &target);
      if (first && !solved && SlideAlongDependence()) {
        first = false;
        continue;
      }
      if (first && (!solved || target[target.size() - 1] <= 0)) {
        free_.pop_back();
        return false;
      }
      if (!solved) return true;  // Rounding: the point before is feasible.
      first = false;
      if (target.minCoeff() > 0) {
        y_(free_) = target;
        std::fill(refused_.begin(), refused_.end(), false);
        return true;
      }
      StepTowards(target);
    }
    return true;
  }

  // The last free vector is a combination of the others: along the change that
  // replaces them by it, K y stays and the objective falls in a straight line,
  // until one of the others is bound. False where none ever is.
  bool SlideAlongDependence() {
    const Index entering = free_.back();
    const std::vector<Index> others(free_.begin(), free_.end() - 1);
    Eigen::VectorXd change;
    const Eigen::VectorXd right = -cosines_.col(entering)(others);
    if (!SolvePositive(cosines_(others, others), right, 0, &change)) {
      return false;
    }
    double reach = std::numeric_limits<double>::infinity();
    size_t stop = 0;
    for (size_t k = 0; k < others.size(); ++k) {
      if (change[k] >= 0 || y_[others[k]] >= -reach * change[k]) continue;
      reach = y_[others[k]] / -change[k];
      stop = k;
    }
    if (!std::isfinite(reach)) return false;
    for (size_t k = 0; k < others.size(); ++k) {
      y_[others[k]] = std::max(0.0, y_[others[k]] + reach * change[k]);
    }
    y_[entering] = reach;
    y_[others[stop]] = 0;
    free_.erase(free_.begin() + stop);
    return true;
  }

  void StepTowards(const Eigen::VectorXd& target) {
    double part = 1;
    Index stop = 0;
    for (size_t k = 0; k < free_.size(); ++k) {
      if (target[k] > 0) continue;
      const double y = y_[free_[k]];
      const double reach = y > 0 ? y / (y - target[k]) : 0;
      if (reach <= part) {
        part = reach;
        stop = k;
      }
    }
    for (size_t k = 0; k < free_.size(); ++k) {
      double& y = y_[free_[k]];
      y = std::max(0.0, y + part * (target[k] - y));
    }
    y_[free_[stop]] = 0;
    free_.erase(free_.begin() + stop);
  }

  const Eigen::MatrixXd& cosines_;
  const Eigen::VectorXd& linear_;
  const double noise_;
  Eigen::VectorXd y_;
  std::vector<Index> free_;
  // Found not to be freeable since the point last moved.
  std::vector<bool> refused_;
};

}  // namespace

Eigen::VectorXd MinimizeNonNegative(const Eigen::MatrixXd& gram,
                                    const Eigen::VectorXd& linear,
                                    double noise) {
  const std::vector<Index> rows = NonZeroRows(gram);
  if (rows.empty()) return Eigen::VectorXd::Zero(linear.size());
  const Eigen::VectorXd scale =
      gram.diagonal()(rows).cwiseSqrt().cwiseInverse();
  const Eigen::MatrixXd cosines =
      scale.asDiagonal() * gram(rows, rows) * scale.asDiagonal();
  const Eigen::VectorXd scaled = scale.cwiseProduct(linear(rows));
  const Eigen::VectorXd part = ActiveSet(cosines, scaled, noise).Solve();
  return Spread(part.cwiseProduct(scale), rows, linear.size());
}

Eigen::VectorXd MinimizeAboveBounds(const Eigen::MatrixXd& gram,
                                    const Eigen::VectorXd& bounds) {
  const double noise = bounds.cwiseAbs().dot(gram.diagonal().cwiseSqrt());
  return bounds + MinimizeNonNegative(gram, gram * bounds, noise);
}

// The minimum of x'Kx + (sum x - 1)^2 over x >= 0 is the solution times a
// positive number: along t x with sum x = 1 it is x'Kx / (1 + x'Kx), which
// rises with x'Kx. With K in units of its shortest vector the added rank-one
// matrix is of K's own size where it matters.
Eigen::VectorXd MinimizeOverSimplex(const Eigen::MatrixXd& gram) {
  const Index m = gram.rows();
  Index shortest = 0;
  const double unit = gram.diagonal().minCoeff(&shortest);
  if (unit <= 0) return Eigen::VectorXd::Unit(m, shortest);
  const Eigen::MatrixXd shifted = (gram / unit).array() + 1;
  const Eigen::VectorXd x =
      MinimizeNonNegative(shifted, Eigen::VectorXd::Constant(m, -1));
  return x / x.sum();
}

}  // namespace concord
