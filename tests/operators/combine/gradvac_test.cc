#include "operators/combine/gradvac.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// Algorithm 1 on the vectors themselves, ascending; moves `targets`.
Eigen::VectorXd PlainGradVac(const Eigen::MatrixXd& vectors, double beta,
                             Eigen::MatrixXd* targets) {
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(vectors.cols());
  for (Eigen::Index i = 0; i < vectors.rows(); ++i) {
    Eigen::VectorXd g = vectors.row(i);
    for (Eigen::Index j = 0; j < vectors.rows(); ++j) {
      const Eigen::VectorXd v = vectors.row(j);
      if (j == i || v.norm() == 0 || g.norm() <= 1e-6 * vectors.row(i).norm()) {
        continue;
      }
      const double f = g.dot(v) / g.norm() / v.norm();
      double& t = (*targets)(i, j);
      if (f < t) {
        g += g.norm() * (t * std::sqrt(1 - f * f) - f * std::sqrt(1 - t * t)) /
             (v.norm() * std::sqrt(1 - t * t)) * v;
      }
      t = std::min(.999, std::max(-.999, (1 - beta) * t + beta * f));
    }
    sum += g;
  }
  return sum;
}

TEST(GradVac, AgreesWithTheAlgorithmOnVectorsOverManySteps) {
  std::mt19937 engine(1);
  const Eigen::VectorXd common = RandomNormal(10, 1, &engine);
  GradVacOptions options;
  options.beta = 0.3;
  std::vector<double> state;
  Eigen::MatrixXd targets = Eigen::MatrixXd::Zero(4, 4);
  for (int step = 0; step < 50; ++step) {
    SCOPED_TRACE(absl::StrCat("seed 1, step ", step));
    Eigen::MatrixXd vectors = RandomNormal(4, 10, &engine);
    vectors.rowwise() += (step % 3 - 1) * common.transpose();
    vectors.row(1) *= 1e-5;
    if (step % 7 == 0) vectors.row(2).setZero();
    const Combined result = Combine(vectors, options, state);
    state = result.combination.state;
    const Eigen::VectorXd expected = PlainGradVac(vectors, .3, &targets);
    EXPECT_LT((result.direction - expected).norm(), 1e-10 * expected.norm());
    EXPECT_EQ(state[0], step + 1);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        EXPECT_NEAR(state[1 + 4 * i + j], targets(i, j), 1e-10);
      }
    }
  }
}

TEST(GradVac, TheFirstStepIsPCGrad) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors = RandomNormal(4, 3, &engine);
  EXPECT_TRUE(Combine(vectors, GradVacOptions())
                  .direction.isApprox(
                      Combine(vectors, PCGradOptions()).direction, 1e-12));
}

TEST(GradVac, SmallVectorsAreVaccinatedLikeLargeOnes) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -1, 1;
  const Eigen::VectorXd large = Combine(vectors, GradVacOptions()).direction;
  const Eigen::VectorXd small =
      Combine(1e-5 * vectors, GradVacOptions()).direction;
  EXPECT_TRUE(small.isApprox(1e-5 * large, 1e-12));
}

TEST(GradVac, ManyEqualPairsDoNotDivideByZero) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 2, 1, 2;
  std::vector<double> state;
  for (int step = 0; step < 100; ++step) {
    state = Combine(vectors, GradVacOptions(), state).combination.state;
  }
  EXPECT_DOUBLE_EQ(state[2], .999);
  vectors.row(1) << 1, -2;
  EXPECT_LT(Combine(vectors, GradVacOptions(), state).direction.norm(), 500);
}

TEST(GradVac, RowsOfASubsetUseTheirOwnTargets) {
  CombineInput input;
  input.gram.resize(2, 2);
  input.gram << 1, .5, .5, 1;
  const std::vector<int> indexes = {0, 2};
  input.indexes = indexes;
  const auto combiner = *MakeCombiner(GradVacOptions(), 3);
  EXPECT_THAT(combiner->Solve(input)->state,
              ::testing::ElementsAre(1, 0, 0, .25, 0, 0, 0, .25, 0, 0));
}

TEST(GradVac, BetaOutsideOfZeroToOneIsRefused) {
  const absl::Status status = MakeCombiner(GradVacOptions{1.5, {}}, 2).status();
  EXPECT_EQ(GetErrorDetail(status)->field, "combiner.gradvac.beta");
}

}  // namespace
}  // namespace concord
