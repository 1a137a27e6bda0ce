#include "operators/combine/config.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/plain_momentum.h"

namespace concord {
namespace {

using ::testing::HasSubstr;

struct Result {
  Combination combination;
  Eigen::VectorXd direction;
};

Result Combine(const Eigen::MatrixXd& vectors,
               const ConFIGOptions& options = {}) {
  CombineInput input;
  input.gram = vectors * vectors.transpose();
  Result result{*(*MakeConFIG(options, vectors.rows()))->Solve(input), {}};
  const auto& c = result.combination.coefficients;
  result.direction = vectors.transpose() *
                     Eigen::Map<const Eigen::VectorXd>(c.data(), c.size());
  return result;
}

Eigen::MatrixXd Random(int m, int n, std::mt19937* engine) {
  std::normal_distribution<double> normal;
  return Eigen::MatrixXd::NullaryExpr(m, n, [&] { return normal(*engine); });
}

TEST(ConFIG, AgreesWithTheVectorFormOnRandomVectors) {
  std::mt19937 engine(1);
  for (int m = 1; m <= 8; ++m) {
    const Eigen::MatrixXd vectors = Random(m, 40, &engine);
    const Result result = Combine(vectors);
    const Eigen::VectorXd expected =
        PlainConFIG(vectors, Eigen::VectorXd::Ones(m));
    EXPECT_LT((result.direction - expected).norm(), 1e-12 * expected.norm());
    EXPECT_NEAR(result.combination.length, expected.norm(),
                1e-12 * expected.norm());
    EXPECT_EQ(result.combination.rank, m);
    EXPECT_TRUE(result.combination.conflict_free);
    EXPECT_FALSE(result.combination.pareto_stationary);
  }
}

TEST(ConFIG, GivenWeightsAreTheRatioOfTheCosines) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors = Random(3, 30, &engine);
  ConFIGOptions options;
  options.weight = GivenWeightOptions{{1, 2, 5}};
  const Result result = Combine(vectors, options);
  const Eigen::VectorXd cosines =
      (vectors * result.direction).array() / vectors.rowwise().norm().array();
  EXPECT_NEAR(cosines[1] / cosines[0], 2, 1e-12);
  EXPECT_NEAR(cosines[2] / cosines[0], 5, 1e-12);
}

TEST(ConFIG, WeightsArePickedByTheVectorsIndexes) {
  std::mt19937 engine(3);
  const Eigen::MatrixXd vectors = Random(2, 30, &engine);
  ConFIGOptions options;
  options.weight = GivenWeightOptions{{1, 9, 3}};
  CombineInput input;
  input.gram = vectors * vectors.transpose();
  const std::vector<int> indexes = {0, 2};
  input.indexes = indexes;
  const auto combination = *(*MakeConFIG(options, 3))->Solve(input);
  const Eigen::VectorXd projections =
      input.gram *
      Eigen::Map<const Eigen::VectorXd>(combination.coefficients.data(), 2);
  const Eigen::VectorXd cosines =
      projections.array() / input.gram.diagonal().array().sqrt();
  EXPECT_NEAR(cosines[1] / cosines[0], 3, 1e-12);
}

TEST(ConFIG, AZeroRowIsDropped) {
  std::mt19937 engine(4);
  Eigen::MatrixXd vectors = Random(3, 20, &engine);
  vectors.row(1).setZero();
  Eigen::MatrixXd without(2, 20);
  without << vectors.row(0), vectors.row(2);
  const Result result = Combine(vectors);
  EXPECT_EQ(result.combination.coefficients[1], 0);
  EXPECT_TRUE(result.direction.isApprox(Combine(without).direction, 1e-14));
  EXPECT_TRUE(result.combination.conflict_free);
}

TEST(ConFIG, OnlyZeroRowsGiveZero) {
  const Result result = Combine(Eigen::MatrixXd::Zero(3, 5));
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_EQ(result.combination.rank, 0);
  EXPECT_FALSE(result.combination.conflict_free);
}

TEST(ConFIG, TwoEqualVectorsGiveTheSumOfTheirLengths) {
  Eigen::MatrixXd vectors(2, 3);
  vectors << 1, 2, 3, 1, 2, 3;
  const Result result = Combine(vectors);
  EXPECT_TRUE(result.direction.isApprox(Eigen::Vector3d(2, 4, 6), 1e-15));
  EXPECT_EQ(result.combination.rank, 1);
  EXPECT_TRUE(result.combination.conflict_free);
}

TEST(ConFIG, DuplicatesGiveTheDirectionOfTheDeduplicatedSet) {
  // Weights sum up where rows are equal: {a, a, b} has the cosines of {a, b}.
  std::mt19937 engine(5);
  const Eigen::MatrixXd pair = Random(2, 20, &engine);
  Eigen::MatrixXd vectors(3, 20);
  vectors << pair.row(0), pair.row(0), pair.row(1);
  const Eigen::VectorXd direction = Combine(vectors).direction;
  const Eigen::VectorXd expected = Combine(pair).direction.normalized();
  EXPECT_LT((direction.normalized() - expected).norm(), 1e-9);
  EXPECT_NEAR(direction.norm(), (vectors * expected).sum(), 1e-9);
}

TEST(ConFIG, AnOpposingPairIsParetoStationary) {
  Eigen::MatrixXd vectors(2, 3);
  vectors << .1, .2, .3, -.3, -.6, -.9;
  const Result result = Combine(vectors);
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
  EXPECT_FALSE(result.combination.conflict_free);
}

TEST(ConFIG, ThreeVectorsThatCancelAreParetoStationary) {
  Eigen::MatrixXd vectors(3, 2);
  vectors << 1, 0, -.5, std::sqrt(.75), -.5, -std::sqrt(.75);
  const Result result = Combine(vectors);
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
}

TEST(ConFIG, MoreVectorsThanParametersIsLeastSquaresAndSaysSo) {
  std::mt19937 engine(6);
  const Eigen::MatrixXd vectors = Random(4, 2, &engine);
  const Result result = Combine(vectors);
  const Eigen::VectorXd expected =
      PlainConFIG(vectors, Eigen::VectorXd::Ones(4));
  EXPECT_LT((result.direction - expected).norm(), 1e-10 * expected.norm());
  EXPECT_EQ(result.combination.rank, 2);
  EXPECT_FALSE(result.combination.conflict_free);
}

TEST(ConFIG, ScalesOfTwelveOrdersOfMagnitudeKeepTheCosinesEqual) {
  std::mt19937 engine(7);
  Eigen::MatrixXd vectors = Random(3, 50, &engine);
  vectors.row(0) *= 1e-6;
  vectors.row(2) *= 1e6;
  const Result result = Combine(vectors);
  const Eigen::VectorXd cosines = (vectors * result.direction).array() /
                                  vectors.rowwise().norm().array() /
                                  result.direction.norm();
  EXPECT_GT(cosines.minCoeff(), 0.1);
  EXPECT_LT(cosines.maxCoeff() - cosines.minCoeff(), 1e-10);
}

TEST(ConFIG, NearlyOpposingVectorsKeepEqualPositiveCosines) {
  std::mt19937 engine(8);
  Eigen::MatrixXd vectors = Random(3, 50, &engine);
  vectors.row(1) = -vectors.row(0) + 1e-2 * vectors.row(1);
  const Result result = Combine(vectors);
  const Eigen::VectorXd cosines = (vectors * result.direction).array() /
                                  vectors.rowwise().norm().array() /
                                  result.direction.norm();
  EXPECT_GT(cosines.minCoeff(), 0);
  EXPECT_LT(cosines.maxCoeff() - cosines.minCoeff(), 1e-9);
}

TEST(ConFIG, BadWeightsAreRefusedNamingTheEntry) {
  ConFIGOptions options;
  options.weight = GivenWeightOptions{{1, 0, 1}};
  absl::Status status = MakeConFIG(options, 3).status();
  EXPECT_EQ(GetErrorReason(status), "INVALID_OPTION");
  EXPECT_THAT(status.message(), HasSubstr("weights[1] = 0"));
  options.weight = GivenWeightOptions{{1, 1}};
  EXPECT_THAT(MakeConFIG(options, 3).status().message(),
              HasSubstr("3, one per vector"));
}

}  // namespace
}  // namespace concord
