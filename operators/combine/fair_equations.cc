#include "operators/combine/fair_equations.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "operators/combine/cholesky.h"
#include "operators/combine/gram.h"
#include "operators/combine/quadratic_program.h"

namespace concord {
namespace {

constexpr int kMostSteps = 2000;
constexpr int kMostHalvings = 60;
constexpr double kSlopeNoise = 1e-13;
constexpr double kQuadratic = 1e-6;  // Below, steps square their error.

// In units of the vectors' lengths, x_i = n_i w_i, the equations are
// (C x)_i = n_i^(p - 1) x_i^-p; times x_i: x_i (C x)_i = r_i(x).
class Equations {
 public:
  Equations(const Eigen::MatrixXd& gram, double p)
      : cosines_(Cosines(gram)),
        p_(p),
        log_norms_(0.5 * gram.diagonal().array().log()) {}

  Eigen::VectorXd Start() const {
    // Of each vector alone, then scaled so that the equations hold in sum.
    const Eigen::VectorXd x =
        (log_norms_ * ((p_ - 1) / (p_ + 1))).array().exp();
    const double scale =
        std::pow(x.squaredNorm() / x.dot(cosines_ * x), 1 / (1 + p_));
    return scale * x;
  }

  Eigen::VectorXd Right(const Eigen::VectorXd& x) const {
    return ((p_ - 1) * (log_norms_.array() - x.array().log())).exp();
  }

  // The slope of the function along the step x_i part_i, at y.
  double Slope(const Eigen::VectorXd& y, const Eigen::VectorXd& x,
               const Eigen::VectorXd& part) const {
    const Eigen::VectorXd gradient =
        (cosines_ * y - Right(y).cwiseQuotient(y)).cwiseProduct(x);
    return gradient.dot(part);
  }

  // Newton's step as parts of x; false where rounding forbids it.
  bool Step(const Eigen::VectorXd& x, Eigen::VectorXd* part) const {
    const Eigen::VectorXd right = Right(x);
    Eigen::MatrixXd matrix = x.asDiagonal() * cosines_ * x.asDiagonal();
    const Eigen::VectorXd missing = right - matrix.rowwise().sum();
    matrix.diagonal() += p_ * right;
    // To a unit diagonal: the parts may differ by many orders of magnitude.
    const Eigen::VectorXd scale = matrix.diagonal().cwiseSqrt().cwiseInverse();
    matrix = scale.asDiagonal() * matrix * scale.asDiagonal();
    const Eigen::VectorXd scaled = scale.cwiseProduct(missing);
    if (!SolvePositive(matrix, scaled, 0, part)) {
      // Equal vectors beside one of a far scale: p r is below their rounding.
      matrix.diagonal().array() +=
          std::numeric_limits<double>::epsilon() * matrix.rows();
      if (!SolvePositive(matrix, scaled, 0, part)) return false;
    }
    *part = part->cwiseProduct(scale);
    return part->allFinite();
  }

 private:
  const Eigen::MatrixXd cosines_;
  const double p_;
  const Eigen::VectorXd log_norms_;
};

Eigen::VectorXd Newton(const Equations& equations) {
  Eigen::VectorXd x = equations.Start();
  Eigen::VectorXd part;
  int quadratic_steps = 0;
  for (int step = 0; step < kMostSteps && quadratic_steps < 3; ++step) {
    if (!equations.Step(x, &part)) break;
    if (part.cwiseAbs().maxCoeff() <= kQuadratic) {
      ++quadratic_steps;
      x.array() *= 1 + part.array();
      continue;
    }
    // Stay well inside x > 0.
    double reach = std::min(1.0, 0.9 / std::max(0.9, -part.minCoeff()));
    // Where only small weights still move, the slope is rounding of the others.
    const double terms = x.sum() * x.sum() * part.cwiseAbs().maxCoeff();
    const double allowed =
        std::max(-0.1 * equations.Slope(x, x, part), kSlopeNoise * terms);
    Eigen::VectorXd next = x;
    for (int halving = 0; halving < kMostHalvings; ++halving) {
      next = x.array() * (1 + reach * part.array());
      if (equations.Slope(next, x, part) <= allowed) break;
      reach /= 2;
    }
    x = next;
  }
  return x;
}

}  // namespace

absl::optional<Eigen::VectorXd> SolveFairEquations(const Eigen::MatrixXd& gram,
                                                   double p) {
  const Eigen::MatrixXd cosines = Cosines(gram);
  const Eigen::VectorXd nearest = MinimizeOverSimplex(cosines);
  if (std::sqrt(std::max(0.0, nearest.dot(cosines * nearest))) <=
      kStationaryCutoff) {
    return absl::nullopt;
  }
  const Eigen::VectorXd x = Newton(Equations(gram, p));
  return Eigen::VectorXd(x.cwiseQuotient(gram.diagonal().cwiseSqrt()));
}

}  // namespace concord
