#include "operators/combine/mgda.h"

#include "gtest/gtest.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(MGDA, NoVectorOfTheHullIsShorterAndNoneConflicts) {
  for (const Case& problem : RandomCases(1)) {
    SCOPED_TRACE(problem.name);
    const Combined result = Combine(problem.vectors, MGDAOptions());
    if (result.combination.pareto_stationary) {
      EXPECT_TRUE(result.direction.isZero(0));
      continue;
    }
    EXPECT_GE(result.coefficients.minCoeff(), 0);
    EXPECT_NEAR(result.coefficients.sum(), 1, 1e-14);
    // The duality gap: |d|^2 <= <v_i, d> proves that d is the shortest.
    const double square = result.direction.squaredNorm();
    for (Eigen::Index i = 0; i < result.products.size(); ++i) {
      EXPECT_GE(
          result.products[i],
          square - 1e-10 * problem.vectors.row(i).norm() * std::sqrt(square));
    }
    EXPECT_TRUE(result.combination.conflict_free);
  }
}

TEST(MGDA, TwoVectorsHaveTheKnownClosedForm) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, 0, 2;
  EXPECT_TRUE(Combine(vectors, MGDAOptions())
                  .coefficients.isApprox(Eigen::Vector2d(.8, .2), 1e-15));
  vectors << 1, 0, 3, 1;  // The shorter one alone.
  EXPECT_TRUE(Combine(vectors, MGDAOptions())
                  .coefficients.isApprox(Eigen::Vector2d(1, 0), 1e-15));
}

TEST(MGDA, ZeroInTheHullIsParetoStationary) {
  Eigen::MatrixXd vectors(4, 2);
  vectors << 1, 0, -.5, 2, -.5, -1, 3, 3;
  EXPECT_TRUE(Combine(vectors, MGDAOptions()).combination.pareto_stationary);
  vectors << 1, 0, 2, 1, 0, 0, 3, 3;  // A zero vector.
  const Combined result = Combine(vectors, MGDAOptions());
  EXPECT_TRUE(result.combination.pareto_stationary);
  EXPECT_TRUE(result.direction.isZero(0));
}

TEST(MGDA, SmallVectorsAreNotTakenForZero) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, 0, 2;
  const Combined result = Combine(1e-12 * vectors, MGDAOptions());
  EXPECT_TRUE(result.coefficients.isApprox(Eigen::Vector2d(.8, .2), 1e-14));
  EXPECT_TRUE(result.combination.conflict_free);
}

}  // namespace
}  // namespace concord
