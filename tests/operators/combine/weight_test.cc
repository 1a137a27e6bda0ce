#include "operators/combine/weight.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/combine/config.h"
#include "operators/errors.h"

namespace concord {
namespace {

using ::testing::Each;

constexpr char kField[] = "weight";

CombineInput Input(int m) {
  CombineInput input;
  input.gram = Eigen::MatrixXd::Identity(m, m);
  return input;
}

Eigen::VectorXd ValuesOf(const WeightOptions& options,
                         const CombineInput& input) {
  return WeightsOf(options, input, 0, kField)->values;
}

TEST(RandomWeight, AreNewInEveryStepAndTheSameForTheSameStep) {
  const RandomWeightOptions options{7};
  CombineInput input = Input(4);
  const Weights first = *WeightsOf(options, input, 4, kField);
  input.state = first.state;
  const Weights second = *WeightsOf(options, input, 4, kField);
  EXPECT_NE(first.values, second.values);
  EXPECT_EQ(second.values, ValuesOf(options, input));
  EXPECT_NEAR(first.values.sum(), 1, 1e-12);
  EXPECT_GT(first.values.minCoeff(), 0);
  EXPECT_NE(first.values, ValuesOf(RandomWeightOptions{8}, Input(4)));
}

TEST(RandomWeight, BelongToTheLossNotToItsPlaceInTheStep) {
  const Eigen::VectorXd all = ValuesOf(RandomWeightOptions{3}, Input(3));
  CombineInput some = Input(2);
  const int indexes[] = {2, 0};
  some.indexes = indexes;
  const Eigen::VectorXd picked = ValuesOf(RandomWeightOptions{3}, some);
  EXPECT_NEAR(picked[0] / picked[1], all[2] / all[0], 1e-12);
}

TEST(DynamicWeightAverage, FollowsTheRatiosOfTheTwoStepsBefore) {
  const double losses[4][2] = {{4, 1}, {2, 1}, {9, 9}, {1, 1}};
  std::vector<double> state;
  std::vector<Eigen::VectorXd> weights;
  for (const auto& step : losses) {
    CombineInput input = Input(2);
    input.losses = step;
    input.state = state;
    const Weights found =
        *WeightsOf(DynamicWeightAverageOptions{2}, input, 2, kField);
    weights.push_back(found.values);
    state = found.state;
  }
  EXPECT_THAT(weights[0], Each(1.0));
  EXPECT_THAT(weights[1], Each(1.0));
  // r = (2/4, 1/1) and then (9/2, 9/1), temperature 2.
  for (const auto& [step, a, b] : {std::tuple(2, 0.5, 1.0), {3, 4.5, 9.0}}) {
    const double ea = std::exp(a / 2), eb = std::exp(b / 2);
    EXPECT_NEAR(weights[step][0], 2 * ea / (ea + eb), 1e-12);
    EXPECT_NEAR(weights[step][1], 2 * eb / (ea + eb), 1e-12);
  }
}

TEST(DynamicWeightAverage, ALossOfZeroAndOneThatExplodesKeepWeightsPositive) {
  std::vector<double> state;
  Weights found;
  for (const double loss : {0.0, 1e300, 1.0}) {
    CombineInput input = Input(2);
    const double losses[] = {loss, 1e-300};
    input.losses = losses;
    input.state = state;
    found = *WeightsOf(DynamicWeightAverageOptions{0.01}, input, 2, kField);
    state = found.state;
    EXPECT_TRUE(found.values.allFinite());
    EXPECT_GT(found.values.minCoeff(), 0);
  }
}

TEST(DynamicWeightAverage, NeedsTheLosses) {
  const auto config = *MakeConFIG({DynamicWeightAverageOptions{}, {}}, 2);
  EXPECT_TRUE(config->needs_losses());
  EXPECT_EQ(GetErrorReason(config->Solve(Input(2)).status()), "LOSSES_MISSING");
  EXPECT_FALSE((*MakeConFIG({}, 2))->needs_losses());
}

TEST(WeightModels, OptionsOutOfRangeAreNamed) {
  const auto field = [](const WeightOptions& options) {
    return GetErrorDetail(MakeConFIG({options, {}}, 2).status())->field;
  };
  EXPECT_EQ(field(GivenWeightOptions{{1, 0}}),
            "combiner.config.weight.given.weights[1]");
  EXPECT_EQ(field(DynamicWeightAverageOptions{0}),
            "combiner.config.weight.dynamic_average.temperature");
  EXPECT_EQ(field(DynamicWeightAverageOptions{std::nan("")}),
            "combiner.config.weight.dynamic_average.temperature");
}

}  // namespace
}  // namespace concord
