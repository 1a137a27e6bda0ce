#include "operators/combine/cagrad.h"

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(CAGrad, TheDualityGapIsClosedAndTheDirectionInTheBall) {
  int solved = 0;
  for (const Case& problem : RandomCases(1)) {
    for (const double c : {.1, .5, .9, 1.5}) {
      SCOPED_TRACE(absl::StrCat(problem.name, ", c = ", c));
      const Eigen::MatrixXd& vectors = problem.vectors;
      const Combined result = Combine(vectors, CAGradOptions{c});
      if (result.combination.pareto_stationary) continue;
      ++solved;
      const Eigen::VectorXd mean = vectors.colwise().mean();
      const double radius = c * mean.norm();
      const double unit = vectors.rowwise().norm().maxCoeff();
      EXPECT_LE((result.direction - mean).norm(), radius * (1 + 1e-9));
      // The dual's value at the result's weights, which bounds every smallest
      // product in the ball from above.
      Eigen::VectorXd w = result.coefficients.array() - 1.0 / vectors.rows();
      EXPECT_GE(w.minCoeff(), 0);
      w /= w.sum();
      const Eigen::VectorXd g_w = vectors.transpose() * w;
      const double dual = g_w.dot(mean) + radius * g_w.norm();
      const double primal = result.products.minCoeff();
      EXPECT_NEAR(primal, dual, 1e-9 * unit * (mean.norm() + radius));
    }
  }
  EXPECT_GT(solved, 500);
}

TEST(CAGrad, NoDirectionOfTheBallHasALargerSmallestProduct) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors = RandomNormal(3, 3, &engine);
  const Combined result = Combine(vectors, CAGradOptions{.7});
  const Eigen::VectorXd mean = vectors.colwise().mean();
  for (int repeat = 0; repeat < 2000; ++repeat) {
    const Eigen::VectorXd step =
        RandomNormal(3, 1, &engine).col(0).normalized();
    const Eigen::VectorXd other = mean + .7 * mean.norm() * step;
    EXPECT_LE((vectors * other).minCoeff(), result.products.minCoeff() + 1e-12);
  }
}

TEST(CAGrad, WithoutRadiusItIsTheMean) {
  std::mt19937 engine(3);
  const Eigen::MatrixXd vectors = RandomNormal(4, 5, &engine);
  EXPECT_TRUE(Combine(vectors, CAGradOptions{0})
                  .direction.isApprox(Combine(vectors, MeanOptions()).direction,
                                      1e-15));
}

TEST(CAGrad, DoesNotDependOnTheLengthOfTheVectors) {
  std::mt19937 engine(4);
  const Eigen::MatrixXd vectors = RandomNormal(4, 3, &engine);
  for (const double scale : {1e-10, 1e-3, 1e6}) {
    EXPECT_TRUE(
        Combine(scale * vectors, CAGradOptions{.5})
            .coefficients.isApprox(
                Combine(vectors, CAGradOptions{.5}).coefficients, 1e-9));
  }
}

TEST(CAGrad, OpposingVectorsAreParetoStationaryWhereTheBallReachesZero) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 2, -3, -6;
  const Combined near = Combine(vectors, CAGradOptions{.5});
  EXPECT_TRUE(near.direction.isApprox(Eigen::Vector2d(-.5, -1), 1e-12));
  EXPECT_FALSE(near.combination.conflict_free);
  const Combined far = Combine(vectors, CAGradOptions{1.5});
  EXPECT_TRUE(far.direction.isZero(0));
  EXPECT_TRUE(far.combination.pareto_stationary);
  vectors << 1, 2, -1, -2;
  EXPECT_TRUE(
      Combine(vectors, CAGradOptions{.5}).combination.pareto_stationary);
}

TEST(CAGrad, ANegativeRadiusIsRefused) {
  const absl::Status status = MakeCombiner(CAGradOptions{-1}, 2).status();
  EXPECT_EQ(GetErrorDetail(status)->field, "combiner.cagrad.c");
}

}  // namespace
}  // namespace concord
