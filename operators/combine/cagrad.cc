#include "operators/combine/cagrad.h"

#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "operators/combine/cholesky.h"
#include "operators/combine/gram.h"
#include "operators/combine/quadratic_program.h"
#include "operators/errors.h"

namespace concord {
namespace {

// z(u) of cagrad.h, and the u at which z'Kz has a given value.
class Dual {
 public:
  explicit Dual(const Eigen::MatrixXd& gram)
      : gram_(gram),
        norms_(gram.diagonal().cwiseSqrt()),
        mean_products_(gram.rowwise().mean()) {}

  double mean_square() const { return mean_products_.mean(); }
  const Eigen::VectorXd& mean_products() const { return mean_products_; }
  const Eigen::VectorXd& norms() const { return norms_; }

  Eigen::VectorXd At(double u) const {
    return MinimizeNonNegative(gram_, mean_products_.array() - u,
                               norms_.mean());
  }

  double Square(const Eigen::VectorXd& z) const { return z.dot(gram_ * z); }

  // The z with z'Kz = square for some u in [low, high].
  Eigen::VectorXd WithSquare(double square, double low, double high) const {
    double u = high;
    Eigen::VectorXd z = At(u);
    for (int step = 0; step < kMostSteps; ++step) {
      const double reached = Square(z);
      if (std::abs(reached - square) <= kExact * square) break;
      (reached < square ? low : high) = u;
      double next = OnActiveSet(z, square);
      // Also where it is NaN.
      if (!(next > low && next < high)) next = low + (high - low) / 2;
      if (next <= low || next >= high) break;  // Neighbouring numbers.
      u = next;
      z = At(u);
    }
    const double reached = Square(z);
    return reached > 0 ? Eigen::VectorXd(z * std::sqrt(square / reached)) : z;
  }

 private:
  static constexpr int kMostSteps = 200;
  static constexpr double kExact = 1e-14;

  // The u at which the active set of `z` gives `square`: with K_AA p = 1 and
  // K_AA q = b_A it is (u p - q)'K(u p - q) = square, on the rising branch.
  double OnActiveSet(const Eigen::VectorXd& z, double square) const {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    std::vector<Eigen::Index> active;
    for (Eigen::Index i = 0; i < z.size(); ++i) {
      if (z[i] > 0) active.push_back(i);
    }
    if (active.empty()) return kNone;
    // In units of the vectors' lengths.
    const Eigen::VectorXd scale = norms_(active).cwiseInverse();
    const Eigen::MatrixXd cosines =
        scale.asDiagonal() * gram_(active, active) * scale.asDiagonal();
    const Eigen::VectorXd b = mean_products_(active).cwiseProduct(scale);
    Eigen::VectorXd p, q;
    if (!SolvePositive(cosines, scale, 0, &p) ||
        !SolvePositive(cosines, b, 0, &q)) {
      return kNone;
    }
    const double half = scale.dot(q);
    const double first = scale.dot(p);
    const double root = half * half - first * (b.dot(q) - square);
    return (half + std::sqrt(root)) / first;
  }

  const Eigen::MatrixXd& gram_;
  const Eigen::VectorXd norms_;
  const Eigen::VectorXd mean_products_;
};

class CAGrad : public Combiner {
 public:
  explicit CAGrad(const CAGradOptions& options) : options_(options) {}

  std::string name() const override { return kCAGradName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::MatrixXd& gram = input.gram;
    const Eigen::Index m = gram.rows();
    const Eigen::VectorXd mean = Eigen::VectorXd::Constant(m, 1.0 / m);
    const Combination of_mean = DescribeOrVanish(gram, mean);
    if (of_mean.rank == 0 || of_mean.pareto_stationary || options_.c == 0) {
      return of_mean;
    }
    const Dual dual(gram);
    const double radius = options_.c * std::sqrt(dual.mean_square());
    const double square = radius * radius;
    double low = 0, high = 0;
    if (dual.Square(dual.At(0)) <= square) {
      // The ball reaches the dual cone: the largest smallest product is > 0,
      // or zero is in the hull and g_w = 0 optimal.
      if (ZeroIsInTheHull(gram)) return ZeroDirection(gram, true);
      high = (1 + options_.c) * std::sqrt(dual.mean_square()) *
             dual.norms().minCoeff();
    } else {
      low = dual.mean_products().minCoeff();
    }
    return DescribeOrVanish(gram, mean + dual.WithSquare(square, low, high));
  }

 private:
  static bool ZeroIsInTheHull(const Eigen::MatrixXd& gram) {
    if (gram.diagonal().minCoeff() <= 0) return true;
    return DescribeOrVanish(gram, MinimizeOverSimplex(gram)).pareto_stationary;
  }

  const CAGradOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeCAGrad(
    const CAGradOptions& options, int /*num_vectors*/) {
  if (!(std::isfinite(options.c) && options.c >= 0)) {
    return InvalidField("INVALID_OPTION", "combiner.cagrad.c",
                        absl::StrCat(options.c), "a finite number >= 0");
  }
  return std::make_unique<CAGrad>(options);
}

}  // namespace concord
