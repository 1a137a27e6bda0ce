#include "operators/combine/quadratic_program.h"

#include <limits>

#include "Eigen/QR"
#include "gtest/gtest.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// Lengths of the terms |v_i| |x_i|: what residuals are relative to.
double Terms(const Eigen::MatrixXd& gram, const Eigen::VectorXd& x) {
  return gram.diagonal().cwiseSqrt().dot(x.cwiseAbs());
}

// The smallest 1/2 y'Ky + q'y over all sets of positive variables, each solved
// by a pseudo-inverse: 2^m of them.
double SmallestByEnumeration(const Eigen::MatrixXd& gram,
                             const Eigen::VectorXd& linear) {
  const int m = static_cast<int>(gram.rows());
  double smallest = 0;
  for (int set = 1; set < 1 << m; ++set) {
    std::vector<int> rows;
    for (int i = 0; i < m; ++i) {
      if (set >> i & 1) rows.push_back(i);
    }
    const Eigen::MatrixXd part = gram(rows, rows);
    const Eigen::VectorXd right = -linear(rows);
    const Eigen::VectorXd y =
        part.completeOrthogonalDecomposition().solve(right);
    if (y.minCoeff() < 0) continue;
    smallest = std::min(smallest, 0.5 * y.dot(part * y) - right.dot(y));
  }
  return smallest;
}

TEST(MinimizeNonNegative, NoSetOfPositiveVariablesDoesBetter) {
  std::mt19937 engine(1);
  for (int repeat = 0; repeat < 100; ++repeat) {
    SCOPED_TRACE(absl::StrCat("seed 1, repeat ", repeat));
    const int m = 1 + repeat % 7;
    const Eigen::MatrixXd vectors = RandomNormal(m, 10, &engine);
    const Eigen::MatrixXd gram = vectors * vectors.transpose();
    const Eigen::VectorXd linear = RandomNormal(m, 1, &engine);
    const Eigen::VectorXd y = MinimizeNonNegative(gram, linear);
    EXPECT_GE(y.minCoeff(), 0);
    const double value = 0.5 * y.dot(gram * y) + linear.dot(y);
    EXPECT_NEAR(value, SmallestByEnumeration(gram, linear),
                1e-12 * (1 + std::abs(value)));
  }
}

TEST(MinimizeAboveBounds, TheOptimalityConditionsHoldTo1eMinus9) {
  for (const Case& problem : RandomCases(2, 8)) {
    SCOPED_TRACE(problem.name);
    const Eigen::MatrixXd gram = problem.vectors * problem.vectors.transpose();
    const int m = static_cast<int>(gram.rows());
    const Eigen::VectorXd bounds = Eigen::VectorXd::Constant(m, 1.0 / m);
    const Eigen::VectorXd x = MinimizeAboveBounds(gram, bounds);
    const Eigen::VectorXd products = gram * x;
    for (int i = 0; i < m; ++i) {
      const double unit =
          1e-9 * std::sqrt(gram(i, i)) * (Terms(gram, x) + Terms(gram, bounds));
      EXPECT_GE(x[i], bounds[i]);
      EXPECT_GE(products[i], -unit);
      if (x[i] > bounds[i]) {
        EXPECT_LE(products[i], unit);
      }
    }
  }
}

TEST(MinimizeOverSimplex, TheOptimalityConditionsHoldTo1eMinus9) {
  for (const Case& problem : RandomCases(3, 8)) {
    SCOPED_TRACE(problem.name);
    const Eigen::MatrixXd gram = problem.vectors * problem.vectors.transpose();
    const Eigen::VectorXd x = MinimizeOverSimplex(gram);
    EXPECT_GE(x.minCoeff(), 0);
    EXPECT_NEAR(x.sum(), 1, 1e-14);
    const Eigen::VectorXd products = gram * x;
    const double square = x.dot(products);
    for (Eigen::Index i = 0; i < x.size(); ++i) {
      const double unit = 1e-9 * std::sqrt(gram(i, i)) * Terms(gram, x);
      EXPECT_GE(products[i], square - unit);
      if (x[i] > 0) {
        EXPECT_LE(products[i], square + unit);
      }
    }
  }
}

TEST(MinimizeOverSimplex, NoPointOfTheHullIsNearerToZero) {
  std::mt19937 engine(4);
  const Eigen::MatrixXd vectors =
      RandomNormal(3, 3, &engine).rowwise() + Eigen::RowVector3d(1, 0, 0);
  const Eigen::VectorXd x = MinimizeOverSimplex(vectors * vectors.transpose());
  const double length = (vectors.transpose() * x).norm();
  double nearest = std::numeric_limits<double>::infinity();
  constexpr int kGrid = 200;
  for (int a = 0; a <= kGrid; ++a) {
    for (int b = 0; a + b <= kGrid; ++b) {
      const Eigen::Vector3d w(a, b, kGrid - a - b);
      nearest = std::min(nearest, (vectors.transpose() * w).norm() / kGrid);
    }
  }
  EXPECT_LE(length, nearest);
  EXPECT_NEAR(length, nearest, 1e-2 * nearest);
}

TEST(MinimizeAboveBounds, DuplicatesAreSolvedLikeTheSetWithoutThem) {
  std::mt19937 engine(5);
  Eigen::MatrixXd vectors = RandomNormal(4, 5, &engine);
  vectors.row(3) = vectors.row(1);
  vectors.row(2) = -0.5 * vectors.row(0) + vectors.row(2);
  const Eigen::MatrixXd gram = vectors * vectors.transpose();
  const Eigen::VectorXd x =
      MinimizeAboveBounds(gram, Eigen::Vector4d(1, 1, 1, 0));
  const Eigen::VectorXd without =
      MinimizeAboveBounds(gram.topLeftCorner(3, 3), Eigen::Vector3d::Ones());
  EXPECT_TRUE((vectors.transpose() * x)
                  .isApprox(vectors.topRows(3).transpose() * without, 1e-12));
}

TEST(MinimizeOverSimplex, AZeroVectorTakesAllTheWeight) {
  const Eigen::MatrixXd gram = Eigen::Vector3d(2, 0, 3).asDiagonal();
  EXPECT_EQ(MinimizeOverSimplex(gram),
            Eigen::VectorXd(Eigen::Vector3d(0, 1, 0)));
}

}  // namespace
}  // namespace concord
