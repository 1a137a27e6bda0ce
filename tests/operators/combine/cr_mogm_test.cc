#include "operators/combine/cr_mogm.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

CRMOGMOptions Around(const CombinerOptions& options, double alpha = 0.9) {
  CRMOGMOptions wrapper;
  wrapper.combiner =
      std::make_shared<const WrappedCombiner>(WrappedCombiner{options});
  wrapper.alpha = alpha;
  return wrapper;
}

TEST(CRMOGM, AveragesTheWrappedMethodsCoefficientsOverTheSteps) {
  std::mt19937 engine(1);
  std::vector<double> state;
  Eigen::VectorXd expected;
  for (int step = 0; step < 5; ++step) {
    const Eigen::MatrixXd vectors = RandomNormal(3, 10, &engine);
    const Eigen::VectorXd newest =
        Combine(vectors, UPGradOptions{}).coefficients;
    expected =
        step == 0 ? newest : Eigen::VectorXd(0.9 * expected + 0.1 * newest);
    const Combined found = Combine(vectors, Around(UPGradOptions{}), state);
    EXPECT_LE((found.coefficients - expected).norm(), 1e-12) << step;
    EXPECT_NEAR(found.combination.length, found.direction.norm(), 1e-9);
    state = found.combination.state;
  }
}

TEST(CRMOGM, StartsFromGivenWeightsAndKeepsThemWithAlphaOne) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors = RandomNormal(2, 10, &engine);
  CRMOGMOptions options = Around(MeanOptions{}, 0.25);
  options.initial_weights = {2, -1};
  EXPECT_TRUE(Combine(vectors, options)
                  .coefficients.isApprox(Eigen::Vector2d(0.875, 0.125)));
  options.alpha = 1;
  EXPECT_EQ(Combine(vectors, options).coefficients, Eigen::Vector2d(2, -1));
}

TEST(CRMOGM, AVectorThatAStepDoesNotBringKeepsItsOwn) {
  CombineInput input;
  input.gram = Eigen::MatrixXd::Identity(3, 3);
  CRMOGMOptions options = Around(SumOptions{}, 0.5);
  options.initial_weights = {3, 3, 3};
  const auto started = *MakeCombiner(options, 3);
  const Combination first = *started->Solve(input);  // (3 + 1) / 2 each.
  CombineInput some;
  some.gram = Eigen::MatrixXd::Identity(1, 1);
  const int indexes[] = {1};
  some.indexes = indexes;
  some.state = first.state;
  const Combination second = *started->Solve(some);
  EXPECT_THAT(second.coefficients, ::testing::ElementsAre(1.5));
  input.state = second.state;
  EXPECT_THAT(started->Solve(input)->coefficients,
              ::testing::ElementsAre(1.5, 1.25, 1.5));
}

TEST(CRMOGM, CarriesTheStateOfAMethodThatHasOne) {
  CombineInput input;
  input.gram = Eigen::MatrixXd::Identity(2, 2);
  const auto wrapper = *MakeCombiner(Around(RandomOptions{9}, 0), 2);
  const auto inner = *MakeCombiner(RandomOptions{9}, 2);
  std::vector<double> outer_state, inner_state;
  for (int step = 0; step < 3; ++step) {
    input.state = outer_state;
    const Combination outer = *wrapper->Solve(input);
    input.state = inner_state;
    const Combination plain = *inner->Solve(input);
    EXPECT_EQ(outer.coefficients, plain.coefficients) << step;
    outer_state = outer.state;
    inner_state = plain.state;
  }
}

TEST(CRMOGM, RefusesWhatItCannotWrapNamingTheField) {
  const auto field = [](const CombinerOptions& options) {
    return GetErrorDetail(MakeCombiner(options, 2).status())->field;
  };
  EXPECT_EQ(field(Around(MeanOptions{}, 1.5)), "combiner.cr_mogm.alpha");
  EXPECT_EQ(field(Around(MeanOptions{}, std::nan(""))),
            "combiner.cr_mogm.alpha");
  EXPECT_EQ(field(Around(CAGradOptions{-1})),
            "combiner.cr_mogm.combiner.cagrad.c");
  EXPECT_EQ(field(Around(Around(CAGradOptions{-1}))),
            "combiner.cr_mogm.combiner.cr_mogm.combiner.cagrad.c");
  EXPECT_EQ(field(Around(TrimmedMeanOptions{})), "combiner.cr_mogm.combiner");
  CombinerOptions deep = MeanOptions{};
  for (int i = 0; i < kMostWrappings; ++i) deep = Around(deep);
  EXPECT_TRUE(MakeCombiner(deep, 2).ok());
  EXPECT_EQ(field(Around(deep)), "combiner.cr_mogm.combiner");
  CRMOGMOptions initial = Around(MeanOptions{});
  initial.initial_weights = {1};
  EXPECT_EQ(field(initial), "combiner.cr_mogm.initial_weights");
  initial.initial_weights = {1, INFINITY};
  EXPECT_EQ(field(initial), "combiner.cr_mogm.initial_weights[1]");
}

TEST(KeepsState, WhereTheMethodAndTheKindOfItsMemoryStay) {
  EXPECT_TRUE(KeepsState(RandomOptions{1}, RandomOptions{2}));
  EXPECT_FALSE(KeepsState(RandomOptions{1}, MeanOptions{}));
  EXPECT_TRUE(KeepsState(NashMTLOptions{1, 5}, NashMTLOptions{2, 7}));
  EXPECT_FALSE(KeepsState(NashMTLOptions{1, 5}, NashMTLOptions{1, 1}));
  EXPECT_FALSE(
      KeepsState(ConFIGOptions{}, ConFIGOptions{RandomWeightOptions{}, {}}));
  EXPECT_TRUE(
      KeepsState(Around(RandomOptions{1}, 0.1), Around(RandomOptions{2}, 0.2)));
  EXPECT_FALSE(KeepsState(Around(RandomOptions{1}), Around(MeanOptions{})));
  PCGradOptions seeded;
  seeded.order = SeededOrder{1};
  EXPECT_FALSE(KeepsState(PCGradOptions{}, seeded));
}

}  // namespace
}  // namespace concord
