// UPGrad and DualProj: projections onto the dual cone.
#include "Eigen/QR"
#include "gtest/gtest.h"
#include "operators/combine/dualproj.h"
#include "operators/combine/upgrad.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// The projection of x onto {d: V d >= 0} over the faces of the cone: of all
// sets of rows made orthogonal to x, the nearest feasible one. Needs
// independent rows.
Eigen::VectorXd PlainProjection(const Eigen::MatrixXd& vectors,
                                const Eigen::VectorXd& x) {
  const int m = static_cast<int>(vectors.rows());
  Eigen::VectorXd nearest = Eigen::VectorXd::Zero(x.size());
  for (int set = 0; set < 1 << m; ++set) {
    std::vector<int> rows;
    for (int i = 0; i < m; ++i) {
      if (set >> i & 1) rows.push_back(i);
    }
    Eigen::VectorXd candidate = x;
    if (!rows.empty()) {
      const Eigen::MatrixXd face = vectors(rows, Eigen::all).transpose();
      candidate -= face * face.colPivHouseholderQr().solve(x);
    }
    if ((vectors * candidate).minCoeff() < -1e-12) continue;
    if ((candidate - x).norm() < (nearest - x).norm()) nearest = candidate;
  }
  return nearest;
}

TEST(UPGrad, IsTheMeanOfTheProjectionsFoundByTryingEveryFace) {
  std::mt19937 engine(1);
  for (int repeat = 0; repeat < 60; ++repeat) {
    SCOPED_TRACE(absl::StrCat("seed 1, repeat ", repeat));
    const int m = 1 + repeat % 6;
    const Eigen::MatrixXd vectors = RandomNormal(m, 6, &engine);
    Eigen::VectorXd expected = Eigen::VectorXd::Zero(6);
    for (int i = 0; i < m; ++i) {
      expected += PlainProjection(vectors, vectors.row(i)) / m;
    }
    const Combined result = Combine(vectors, UPGradOptions());
    EXPECT_LT((result.direction - expected).norm(), 1e-9 * expected.norm());
    EXPECT_TRUE(result.combination.conflict_free);
  }
}

TEST(DualProj, IsTheProjectionOfTheMeanFoundByTryingEveryFace) {
  std::mt19937 engine(2);
  for (int repeat = 0; repeat < 60; ++repeat) {
    SCOPED_TRACE(absl::StrCat("seed 2, repeat ", repeat));
    const int m = 1 + repeat % 6;
    const Eigen::MatrixXd vectors = RandomNormal(m, 6, &engine);
    const Eigen::VectorXd expected =
        PlainProjection(vectors, vectors.colwise().mean());
    const Combined result = Combine(vectors, DualProjOptions());
    EXPECT_LT((result.direction - expected).norm(), 1e-9 * expected.norm());
  }
}

TEST(UPGrad, TheDirectionHasNoNegativeProduct) {
  for (const Case& problem : RandomCases(3, 8)) {
    SCOPED_TRACE(problem.name);
    for (const Combined& result :
         {Combine(problem.vectors, UPGradOptions()),
          Combine(problem.vectors, DualProjOptions())}) {
      const Eigen::VectorXd norms = problem.vectors.rowwise().norm();
      const double terms = result.coefficients.cwiseAbs().dot(norms);
      for (Eigen::Index i = 0; i < norms.size(); ++i) {
        EXPECT_GE(result.products[i], -1e-12 * norms[i] * terms);
      }
    }
  }
}

TEST(DualProj, VectorsOfVeryDifferentLengthDoNotConflict) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1e-3, 0, -1e3, 1e3;
  const Combined exact = Combine(vectors, DualProjOptions());
  EXPECT_NEAR(exact.direction[0], 0, 1e-9);
  EXPECT_NEAR(exact.direction[1], 500, 1e-9);
  // The product with the first is zero, which is no conflict and no progress.
  EXPECT_FALSE(exact.combination.conflict_free);
  // A regularised program is another one; the flag tells.
  DualProjOptions regularised;
  regularised.reg_eps = 1e-4;
  const Combined result = Combine(vectors, regularised);
  EXPECT_LT(result.direction[0], -400);
  EXPECT_FALSE(result.combination.conflict_free);
}

TEST(UPGrad, SmallVectorsAreProjectedLikeLargeOnes) {
  std::mt19937 engine(4);
  const Eigen::MatrixXd vectors = RandomNormal(4, 3, &engine);
  for (const double reg_eps : {0.0, 1e-4}) {
    UPGradOptions options;
    options.reg_eps = reg_eps;
    EXPECT_TRUE(Combine(1e-3 * vectors, options)
                    .direction.isApprox(
                        1e-3 * Combine(vectors, options).direction, 1e-9));
  }
}

TEST(UPGrad, RegularisationAddsToTheDiagonal) {
  // Opposite enough that both bounds are left: x solves the regularised
  // program of a pair in closed form.
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -1, 1;
  UPGradOptions options;
  options.reg_eps = 0.1;  // K + 0.3 I = [[1.3, -1], [-1, 2.3]].
  const Combined result = Combine(vectors, options);
  EXPECT_NEAR(result.coefficients[0], .5 + .5 / 1.3, 1e-14);
  EXPECT_NEAR(result.coefficients[1], .5 + .5 / 2.3, 1e-14);
}

TEST(UPGrad, ThePreferenceWeighsTheProjections) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -1, 1;
  // Projections: (.5, .5) of the first, (0, 1) of the second.
  UPGradOptions options;
  options.preference = {2, 4};
  EXPECT_TRUE(Combine(vectors, options)
                  .direction.isApprox(Eigen::Vector2d(1, 5), 1e-14));
}

TEST(DualProj, ThePreferenceWeighsTheVectors) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -1, 1;
  DualProjOptions options;
  options.preference = {1, 4};  // (-3, 4) onto the cone of x >= 0, y >= x.
  EXPECT_TRUE(Combine(vectors, options)
                  .direction.isApprox(Eigen::Vector2d(0, 4), 1e-14));
}

TEST(UPGrad, AnOpposingPairIsParetoStationary) {
  Eigen::MatrixXd vectors(2, 3);
  vectors << .1, .2, .3, -.3, -.6, -.9;
  for (const CombinerOptions& options :
       {CombinerOptions(UPGradOptions()), CombinerOptions(DualProjOptions())}) {
    const Combined result = Combine(vectors, options);
    EXPECT_TRUE(result.direction.isZero(0));
    EXPECT_TRUE(result.combination.pareto_stationary);
  }
}

TEST(DualCone, BadOptionsAreRefusedNamingTheField) {
  const auto field = [](const CombinerOptions& options) {
    return GetErrorDetail(MakeCombiner(options, 2).status())->field;
  };
  EXPECT_EQ(field(UPGradOptions{{1, 2, 3}, 0}), "combiner.upgrad.preference");
  EXPECT_EQ(field(UPGradOptions{{1, -1}, 0}), "combiner.upgrad.preference[1]");
  EXPECT_EQ(field(UPGradOptions{{}, -1}), "combiner.upgrad.reg_eps");
  EXPECT_EQ(field(DualProjOptions{{}, -1}), "combiner.dualproj.reg_eps");
}

}  // namespace
}  // namespace concord
