#include "operators/combine/jacobi_eigen.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace concord {
namespace {

constexpr int kMostSweeps = 60;
// Of sqrt(a_pp a_qq): what is smaller moves an eigenvalue by roundings.
constexpr double kNegligible = 1e-15;

// The rotation of columns p and q that makes a_pq zero.
struct Rotation {
  double cosine, sine;
};

Rotation Annihilating(double pp, double qq, double pq) {
  const double theta = (qq - pp) / (2 * pq);
  // For |theta| whose square leaves fp64's range, t = 1 / (2 theta).
  const double t =
      std::isfinite(theta * theta)
          ? std::copysign(1 / (std::abs(theta) + std::sqrt(1 + theta * theta)),
                          theta)
          : 1 / (2 * theta);
  const double cosine = 1 / std::sqrt(1 + t * t);
  return {cosine, t * cosine};
}

// (first, second) times the rotation, element by element.
void Rotate(double* first, double* second, Eigen::Index step,
            Eigen::Index count, Rotation by) {
  for (Eigen::Index k = 0; k < count; ++k, first += step, second += step) {
    const double x = *first;
    const double y = *second;
    *first = by.cosine * x - by.sine * y;
    *second = by.sine * x + by.cosine * y;
  }
}

}  // namespace

SymmetricEigen DecomposeByRotations(const Eigen::MatrixXd& matrix) {
  const Eigen::Index m = matrix.rows();
  Eigen::MatrixXd a = matrix.selfadjointView<Eigen::Lower>();
  Eigen::MatrixXd vectors = Eigen::MatrixXd::Identity(m, m);
  bool rotated = true;
  for (int sweep = 0; sweep < kMostSweeps && rotated; ++sweep) {
    rotated = false;
    for (Eigen::Index p = 0; p < m; ++p) {
      for (Eigen::Index q = p + 1; q < m; ++q) {
        const double size = std::sqrt(std::max(0.0, a(p, p))) *
                            std::sqrt(std::max(0.0, a(q, q)));
        if (!(std::abs(a(p, q)) > kNegligible * size)) continue;
        if (a(p, q) == 0) continue;
        rotated = true;
        const Rotation by = Annihilating(a(p, p), a(q, q), a(p, q));
        Rotate(&a(0, p), &a(0, q), 1, m, by);  // Columns,
        Rotate(&a(p, 0), &a(q, 0), m, m, by);  // rows.
        a(p, q) = a(q, p) = 0;
        Rotate(&vectors(0, p), &vectors(0, q), 1, m, by);
      }
    }
  }
  std::vector<Eigen::Index> order(m);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(
      order.begin(), order.end(),
      [&](Eigen::Index i, Eigen::Index j) { return a(i, i) < a(j, j); });
  return {a.diagonal()(order), vectors(Eigen::all, order)};
}

}  // namespace concord
