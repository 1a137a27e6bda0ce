// Mean, Sum, Constant and Random: combiners whose coefficients do not depend on
// the vectors.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(Mean, IsTheMeanOfTheVectorsZeroOnesIncluded) {
  std::mt19937 engine(1);
  Eigen::MatrixXd vectors = RandomNormal(4, 7, &engine);
  vectors.row(2).setZero();
  const Combined result = Combine(vectors, MeanOptions());
  const Eigen::VectorXd expected = vectors.colwise().mean();
  EXPECT_TRUE(result.direction.isApprox(expected, 1e-15));
  EXPECT_NEAR(result.combination.length, expected.norm(), 1e-14);
  EXPECT_EQ(result.combination.rank, 3);
}

TEST(Sum, IsTheSumOfTheVectors) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors = RandomNormal(4, 7, &engine);
  const Combined result = Combine(vectors, SumOptions());
  const Eigen::VectorXd expected = vectors.colwise().sum();
  EXPECT_TRUE(result.direction.isApprox(expected, 1e-15));
}

TEST(Sum, SaysWhenItConflictsAndWhenTheVectorsCancel) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -3, 0;
  Combined result = Combine(vectors, SumOptions());
  EXPECT_FALSE(result.combination.conflict_free);
  EXPECT_FALSE(result.combination.pareto_stationary);
  vectors << 1, 2, -1, -2;
  result = Combine(vectors, SumOptions());
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
  vectors << 1, 2, 2, 1;
  EXPECT_TRUE(Combine(vectors, SumOptions()).combination.conflict_free);
}

TEST(Constant, WeighsTheVectorsByTheirIndexes) {
  CombineInput input;
  input.gram = Eigen::Matrix2d::Identity();
  const std::vector<int> indexes = {0, 2};
  input.indexes = indexes;
  const auto combiner = *MakeCombiner(ConstantOptions{{1, 9, 3}}, 3);
  EXPECT_THAT(combiner->Solve(input)->coefficients,
              ::testing::ElementsAre(1, 3));
}

TEST(Constant, RefusesWeightsThatAreNotPositiveOrNotOnePerVector) {
  const auto detail = [](std::vector<double> weights) {
    return *GetErrorDetail(MakeCombiner(ConstantOptions{weights}, 2).status());
  };
  EXPECT_EQ(detail({1}).field, "combiner.constant.weights");
  EXPECT_EQ(detail({1, 0}).field, "combiner.constant.weights[1]");
  EXPECT_EQ(detail({1, 0}).reason, "INVALID_OPTION");
}

TEST(Random, WeightsArePositiveSumToOneAndAreNewInEveryStep) {
  const Eigen::MatrixXd vectors = Eigen::Matrix3d::Identity();
  const RandomOptions options{42};
  const Combined first = Combine(vectors, options);
  EXPECT_GT(first.coefficients.minCoeff(), 0);
  EXPECT_NEAR(first.coefficients.sum(), 1, 1e-15);
  EXPECT_THAT(first.combination.state, ::testing::ElementsAre(1));
  const Combined second = Combine(vectors, options, first.combination.state);
  EXPECT_FALSE(second.coefficients.isApprox(first.coefficients, 1e-3));
  // A step that is solved again gives the same weights.
  EXPECT_EQ(Combine(vectors, options, first.combination.state).coefficients,
            second.coefficients);
  EXPECT_FALSE(Combine(vectors, RandomOptions{43})
                   .coefficients.isApprox(first.coefficients, 1e-3));
}

TEST(Random, TheLogarithmsOfTheWeightsVaryLikeNormalNumbers) {
  const Eigen::MatrixXd vectors = Eigen::Matrix2d::Identity();
  double sum = 0, squares = 0;
  constexpr int kSteps = 4000;
  for (int step = 0; step < kSteps; ++step) {
    const Combined result =
        Combine(vectors, RandomOptions{7}, {static_cast<double>(step)});
    const double ratio =
        std::log(result.coefficients[0]) - std::log(result.coefficients[1]);
    sum += ratio;
    squares += ratio * ratio;
  }
  EXPECT_NEAR(sum / kSteps, 0, 0.1);
  EXPECT_NEAR(squares / kSteps, 2, 0.2);
}

TEST(Random, AStateOfTheWrongSizeIsRefused) {
  CombineInput input;
  input.gram = Eigen::Matrix2d::Identity();
  const std::vector<double> state = {1, 2};
  input.state = state;
  const auto combiner = *MakeCombiner(RandomOptions(), 2);
  EXPECT_EQ(GetErrorDetail(combiner->Solve(input).status())->field, "state");
}

}  // namespace
}  // namespace concord
