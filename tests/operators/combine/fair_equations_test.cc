// NashMTL and FairGrad: by their defining equations.
#include "operators/combine/fair_equations.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/combine/fairgrad.h"
#include "operators/combine/nash_mtl.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(FairGrad, TheDefiningEquationsHold) {
  int solved = 0;
  for (const Case& problem : RandomCases(1)) {
    for (const double alpha : {.05, .1, .5, 1., 2., 5., 10.}) {
      SCOPED_TRACE(absl::StrCat(problem.name, ", alpha = ", alpha));
      const Combined result = Combine(problem.vectors, FairGradOptions{alpha});
      if (result.combination.pareto_stationary) continue;
      ++solved;
      const Eigen::MatrixXd gram =
          problem.vectors * problem.vectors.transpose();
      const Eigen::VectorXd products = gram * result.coefficients;
      const Eigen::VectorXd norms = gram.diagonal().cwiseSqrt();
      const double terms = norms.dot(result.coefficients);
      for (Eigen::Index i = 0; i < products.size(); ++i) {
        ASSERT_GT(result.coefficients[i], 0);
        EXPECT_NEAR(products[i], std::pow(result.coefficients[i], -1 / alpha),
                    1e-12 * norms[i] * terms);
      }
      // Far from 1 some products are powers so small that rounding hides them.
      if (alpha >= .5 && alpha <= 2) {
        EXPECT_TRUE(result.combination.conflict_free);
      }
    }
  }
  EXPECT_GT(solved, 1000);
}

TEST(FairGrad, OrthogonalVectorsHaveTheClosedForm) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1e-5, 0, 0, 2e-5;
  EXPECT_TRUE(Combine(vectors, FairGradOptions{1})
                  .direction.isApprox(Eigen::Vector2d(1, 1), 1e-14));
  // n^2 w = w^-2: w = n^(-2/3).
  const Combined result = Combine(vectors, FairGradOptions{.5});
  EXPECT_NEAR(result.coefficients[0], std::pow(1e-10, -1. / 3), 1e-9);
}

TEST(FairGrad, WithAlphaZeroItIsTheMean) {
  const Eigen::MatrixXd vectors = Eigen::Matrix3d::Identity();
  EXPECT_TRUE(Combine(vectors, FairGradOptions{0})
                  .coefficients.isApprox(Eigen::Vector3d::Constant(1. / 3)));
}

TEST(NashMTL, TheDefiningEquationsHoldAndTheLengthIsTheRootOfM) {
  for (const Case& problem : RandomCases(2)) {
    SCOPED_TRACE(problem.name);
    const Combined result = Combine(problem.vectors, NashMTLOptions{0, 1});
    if (result.combination.pareto_stationary) continue;
    const Eigen::MatrixXd gram = problem.vectors * problem.vectors.transpose();
    const Eigen::VectorXd norms = gram.diagonal().cwiseSqrt();
    const Eigen::VectorXd products = gram * result.coefficients;
    for (Eigen::Index i = 0; i < products.size(); ++i) {
      EXPECT_NEAR(products[i] * result.coefficients[i], 1,
                  1e-12 * norms[i] * result.coefficients[i] *
                      norms.dot(result.coefficients));
    }
    EXPECT_NEAR(result.combination.length, std::sqrt(norms.size()), 1e-9);
  }
}

TEST(NashMTL, DoesNotDependOnTheLengthsOfTheVectors) {
  std::mt19937 engine(3);
  const Eigen::MatrixXd vectors = RandomNormal(3, 5, &engine);
  Eigen::MatrixXd scaled = vectors;
  scaled.row(0) *= 1e-6;
  scaled.row(2) *= 1e6;
  EXPECT_TRUE(Combine(scaled, NashMTLOptions())
                  .direction.isApprox(
                      Combine(vectors, NashMTLOptions()).direction, 1e-9));
}

TEST(NashMTL, IsClippedToMaxNorm) {
  std::mt19937 engine(4);
  const Eigen::MatrixXd vectors = RandomNormal(4, 5, &engine);
  const Combined unit = Combine(vectors, NashMTLOptions());
  EXPECT_NEAR(unit.direction.norm(), 1, 1e-12);
  EXPECT_NEAR(unit.combination.length, 1, 1e-12);
  EXPECT_NEAR(Combine(vectors, NashMTLOptions{5, 1}).direction.norm(), 2,
              1e-12);
}

TEST(NashMTL, ZeroVectorsAreDropped) {
  Eigen::MatrixXd vectors(3, 2);
  vectors << 2, 0, 0, 0, 0, 4;
  const Combined result = Combine(vectors, NashMTLOptions{0, 1});
  EXPECT_TRUE(result.coefficients.isApprox(Eigen::Vector3d(.5, 0, .25)));
}

TEST(NashMTL, WeightsAreUsedAgainUntilTheyAreDue) {
  std::mt19937 engine(5);
  const NashMTLOptions options{0, 3};
  std::vector<double> state;
  Eigen::VectorXd last;
  for (int step = 0; step < 7; ++step) {
    const Eigen::MatrixXd vectors = RandomNormal(3, 5, &engine);
    const Combined result = Combine(vectors, options, state);
    state = result.combination.state;
    if (step % 3 == 0) {
      EXPECT_TRUE(result.coefficients.isApprox(
          Combine(vectors, NashMTLOptions{0, 1}).coefficients));
    } else {
      EXPECT_EQ(result.coefficients, last);
    }
    last = result.coefficients;
  }
  EXPECT_TRUE(Combine(Eigen::Matrix2d::Identity(), NashMTLOptions{})
                  .combination.state.empty());
}

TEST(NashMTL, AVectorWithoutWeightIsSolvedForAtOnce) {
  const NashMTLOptions options{0, 10};
  Eigen::MatrixXd vectors = Eigen::Matrix2d::Identity();
  vectors.row(1).setZero();
  const std::vector<double> state = Combine(vectors, options).combination.state;
  EXPECT_THAT(state, ::testing::ElementsAre(1, 1, 0));
  EXPECT_TRUE(Combine(Eigen::Matrix2d::Identity(), options, state)
                  .coefficients.isApprox(Eigen::Vector2d(1, 1)));
}

TEST(FairEquations, NoSolutionIsParetoStationary) {
  Eigen::MatrixXd vectors(3, 2);
  vectors << 1, 2, -3, -6, 2, 2;
  for (const CombinerOptions& options : {CombinerOptions(NashMTLOptions()),
                                         CombinerOptions(FairGradOptions())}) {
    const Combined result = Combine(vectors, options);
    EXPECT_TRUE(result.direction.isZero(0));
    EXPECT_TRUE(result.combination.pareto_stationary);
    EXPECT_FALSE(result.combination.conflict_free);
  }
}

TEST(FairEquations, BadOptionsAreRefusedNamingTheField) {
  const auto field = [](const CombinerOptions& options) {
    return GetErrorDetail(MakeCombiner(options, 2).status())->field;
  };
  EXPECT_EQ(field(FairGradOptions{-1}), "combiner.fairgrad.alpha");
  EXPECT_EQ(field(FairGradOptions{.01}), "combiner.fairgrad.alpha");
  EXPECT_EQ(field(NashMTLOptions{-1, 1}), "combiner.nash_mtl.max_norm");
  EXPECT_EQ(field(NashMTLOptions{1, 0}), "combiner.nash_mtl.update_every");
}

}  // namespace
}  // namespace concord
