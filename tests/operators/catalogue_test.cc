#include "operators/catalogue.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/losses/loss_recorder.h"
#include "operators/momentum/momentum_operator.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

using ::testing::ElementsAreArray;
using ::testing::UnorderedElementsAreArray;

template <typename Facts>
std::vector<std::string> Names(absl::Span<const Facts> catalogue) {
  std::vector<std::string> names;
  for (const Facts& facts : catalogue) names.emplace_back(facts.name);
  return names;
}

TEST(Catalogue, HoldsEveryMethodOfTheRegistryAndNoOther) {
  EXPECT_THAT(Names(MethodCatalogue()), ElementsAreArray(CombinerNames()));
}

TEST(Catalogue, HoldsEveryMomentumOperatorAndLossRecorderAndNoOther) {
  EXPECT_THAT(Names(MomentumCatalogue()),
              UnorderedElementsAreArray(MomentumOperatorNames()));
  EXPECT_THAT(Names(LossRecorderCatalogue()),
              UnorderedElementsAreArray(LossRecorderNames()));
}

TEST(Catalogue, HoldsAsManyWeightsAndLengthsAsThereAre) {
  EXPECT_EQ(WeightCatalogue().size(), std::variant_size_v<WeightOptions>);
  EXPECT_EQ(LengthCatalogue().size(), std::variant_size_v<LengthOptions>);
}

TEST(Catalogue, FindsByNameWhatItHoldsAndNothingElse) {
  for (const MethodFacts& facts : MethodCatalogue()) {
    EXPECT_EQ(FindMethod(facts.name), &facts);
  }
  EXPECT_EQ(FindMethod("config"), nullptr);
  EXPECT_EQ(FindPart(WeightCatalogue(), "EqualWeight"),
            &WeightCatalogue().front());
  EXPECT_EQ(FindPart(WeightCatalogue(), "ProjectionLength"), nullptr);
}

TEST(Catalogue, TellsOfEveryMethodWhatItComputesAndGuarantees) {
  for (const MethodFacts& facts : MethodCatalogue()) {
    EXPECT_FALSE(facts.family.empty()) << facts.name;
    EXPECT_FALSE(facts.formula.empty()) << facts.name;
    EXPECT_FALSE(facts.conflict_free.empty()) << facts.name;
    EXPECT_FALSE(facts.scale_invariant.empty()) << facts.name;
  }
}

// ---- What is said of the methods is true of their default options ----------

constexpr int kVectors = 4;

template <size_t... i>
std::vector<CombinerOptions> Defaults(std::index_sequence<i...>) {
  return {CombinerOptions(std::in_place_index<i>)...};
}

// The default options of every method, whatever methods there are.
std::vector<CombinerOptions> Defaults() {
  auto all = Defaults(
      std::make_index_sequence<std::variant_size_v<CombinerOptions>>());
  for (CombinerOptions& options : all) {
    if (auto* constant = std::get_if<ConstantOptions>(&options)) {
      constant->weights = {1, 2, 3, 4};
    }
  }
  return all;
}

class EveryMethod : public ::testing::TestWithParam<CombinerOptions> {
 protected:
  const MethodFacts& facts() const {
    const auto combiner = MakeCombiner(GetParam(), kVectors);
    return *FindMethod((*combiner)->name());
  }
  bool linear() const { return facts().kind == MethodKind::kLinear; }
};

// Independent vectors that conflict.
Eigen::MatrixXd Conflicting(std::mt19937* engine) {
  const Eigen::MatrixXd vectors = RandomNormal(kVectors, 10, engine);
  return vectors.rowwise() - 0.9 * vectors.colwise().mean();
}

TEST_P(EveryMethod, IsOfTheKindThatTheCatalogueSays) {
  const auto combiner = MakeCombiner(GetParam(), kVectors);
  EXPECT_EQ((*combiner)->works_on_columns(), !linear()) << facts().name;
}

TEST_P(EveryMethod, ConflictsOnlyWhereTheCatalogueAllowsIt) {
  if (!linear()) return;  // No coefficients to look at.
  std::mt19937 engine(1);
  int conflicts = 0;
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Combined combined = Combine(Conflicting(&engine), GetParam());
    conflicts += combined.products.minCoeff() < -1e-9;
  }
  if (facts().conflict_free == "yes") {
    EXPECT_EQ(conflicts, 0) << facts().name;
  }
  if (facts().conflict_free == "no") {
    EXPECT_GT(conflicts, 0) << facts().name;
  }
}

TEST_P(EveryMethod, DependsOnTheVectorsScalesOnlyWhereTheCatalogueSaysSo) {
  if (!linear()) return;  // No coefficients to look at.
  std::mt19937 engine(2);
  int changed = 0;
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Eigen::MatrixXd vectors = Conflicting(&engine);
    Eigen::MatrixXd scaled = vectors;
    scaled.row(repeat % kVectors) *= 100;
    const Eigen::VectorXd before =
        Combine(vectors, GetParam()).direction.normalized();
    const Eigen::VectorXd after =
        Combine(scaled, GetParam()).direction.normalized();
    // IMTL-G's direction may turn round: the axis is what does not depend.
    changed +=
        std::min((before - after).norm(), (before + after).norm()) > 1e-9;
  }
  if (facts().scale_invariant == "yes") {
    EXPECT_EQ(changed, 0) << facts().name;
  }
  if (facts().scale_invariant == "no") {
    EXPECT_GT(changed, 0) << facts().name;
  }
}

TEST_P(EveryMethod, RemembersSomethingOnlyWhereTheCatalogueSaysSo) {
  std::mt19937 engine(3);
  const Combined combined = Combine(Conflicting(&engine), GetParam());
  if (facts().state.empty()) {
    EXPECT_TRUE(combined.combination.state.empty()) << facts().name;
  } else if (!absl::StrContains(facts().state, ":")) {  // No condition.
    EXPECT_FALSE(combined.combination.state.empty()) << facts().name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Catalogue, EveryMethod, ::testing::ValuesIn(Defaults()),
    [](const ::testing::TestParamInfo<CombinerOptions>& tested) {
      return (*MakeCombiner(tested.param, kVectors))->name();
    });

}  // namespace
}  // namespace concord
