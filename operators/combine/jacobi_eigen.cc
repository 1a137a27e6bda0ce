#include "operators/combine/jacobi_eigen.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace concord {
namespace {

constexpr int kMostSweeps = 60;
// Of sqrt(a_pp a_qq): what is smaller changes no digit of either eigenvalue.
constexpr double kNegligible = 1e-16;

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

void Rotate(Eigen::MatrixXd* matrix, Eigen::Index p, Eigen::Index q,
            Rotation by) {
  const Eigen::VectorXd column = matrix->col(p);
  matrix->col(p) = by.cosine * column - by.sine * matrix->col(q);
  matrix->col(q) = by.sine * column + by.cosine * matrix->col(q);
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
        Rotate(&a, p, q, by);
        a.transposeInPlace();
        Rotate(&a, p, q, by);
        a.transposeInPlace();
        a(p, q) = a(q, p) = 0;
        Rotate(&vectors, p, q, by);
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
