#include "operators/combine/imtlg.h"

#include "Eigen/QR"
#include "gtest/gtest.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(IMTLG, ProjectionsAreEqualAndTheCoefficientsSumToOne) {
  for (const Case& problem : RandomCases(1)) {
    if (problem.vectors.rows() > problem.vectors.cols()) continue;
    SCOPED_TRACE(problem.name);
    const Combined result = Combine(problem.vectors, IMTLGOptions());
    EXPECT_NEAR(result.coefficients.sum(), 1,
                1e-12 * result.coefficients.cwiseAbs().sum());
    const Eigen::VectorXd norms = problem.vectors.rowwise().norm();
    const Eigen::VectorXd projections = result.products.cwiseQuotient(norms);
    const double terms = result.coefficients.cwiseAbs().dot(norms);
    EXPECT_LT(projections.maxCoeff() - projections.minCoeff(), 1e-9 * terms);
  }
}

TEST(IMTLG, TwoVectorsHaveTheClosedForm) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 3, 4, 0, 20;
  const Combined result = Combine(vectors, IMTLGOptions());
  EXPECT_TRUE(result.coefficients.isApprox(Eigen::Vector2d(.8, .2), 1e-15));
  // In any order, and for dependent vectors too.
  vectors << 1, 2, 2, 4;
  EXPECT_TRUE(Combine(vectors, IMTLGOptions())
                  .direction.isApprox(Eigen::Vector2d(4, 8) / 3, 1e-15));
  vectors << 2, 4, 1, 2;
  EXPECT_TRUE(Combine(vectors, IMTLGOptions())
                  .direction.isApprox(Eigen::Vector2d(4, 8) / 3, 1e-15));
}

TEST(IMTLG, DependentVectorsUseThePseudoInverse) {
  std::mt19937 engine(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    SCOPED_TRACE(absl::StrCat("seed 2, repeat ", repeat));
    const Eigen::MatrixXd vectors = RandomNormal(4, 3, &engine);
    const Eigen::MatrixXd gram = vectors * vectors.transpose();
    Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd> inverse;
    inverse.setThreshold(1e-9);
    inverse.compute(gram);
    const Eigen::VectorXd norms = vectors.rowwise().norm();
    const Eigen::VectorXd v = inverse.solve(norms);
    const Combined result = Combine(vectors, IMTLGOptions());
    EXPECT_LT((result.coefficients - v / v.sum()).norm(),
              1e-9 * (v / v.sum()).norm());
    EXPECT_EQ(result.combination.rank, 3);
    EXPECT_FALSE(result.combination.conflict_free);
  }
}

TEST(IMTLG, ADirectionThatOpposesEveryLossSaysSo) {
  Eigen::MatrixXd vectors(3, 3);
  vectors << 1, 0, 0, 0, 1, 0, .003, .003, .001;
  const Combined result = Combine(vectors, IMTLGOptions());
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(
        result.products[i] / vectors.row(i).norm() / result.direction.norm(),
        -.46, .005);
  }
  EXPECT_FALSE(result.combination.conflict_free);
}

TEST(IMTLG, ZeroVectorsAreDropped) {
  std::mt19937 engine(3);
  Eigen::MatrixXd vectors = RandomNormal(4, 6, &engine);
  vectors.row(2).setZero();
  Eigen::MatrixXd without(3, 6);
  without << vectors.row(0), vectors.row(1), vectors.row(3);
  EXPECT_TRUE(Combine(vectors, IMTLGOptions())
                  .direction.isApprox(
                      Combine(without, IMTLGOptions()).direction, 1e-13));
}

TEST(IMTLG, OpposingVectorsAreParetoStationary) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 2, -3, -6;
  Combined result = Combine(vectors, IMTLGOptions());
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
  vectors.resize(3, 2);
  vectors << 1, 0, -.5, std::sqrt(.75), -.5, -std::sqrt(.75);
  result = Combine(vectors, IMTLGOptions());
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
}

}  // namespace
}  // namespace concord
