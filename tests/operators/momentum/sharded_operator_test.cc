// Parameters in parts: every part its own operator, products summed in between.
// The oracle is the same operator over whole vectors.
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

using ::testing::HasSubstr;

constexpr int kLosses = 4;

using Vectors = std::vector<std::vector<double>>;

struct NamedCombiner {
  std::string name;
  CombinerOptions options;
};

// Every combiner that does not work on columns, with options that matter.
std::vector<NamedCombiner> GramCombiners() {
  CRMOGMOptions smoothed;
  smoothed.combiner =
      std::make_shared<const WrappedCombiner>(WrappedCombiner{UPGradOptions{}});
  ConFIGOptions random_weights;
  random_weights.weight = RandomWeightOptions{4};
  return {{"ConFIG", ConFIGOptions{}},
          {"ConFIG with random weights", random_weights},
          {"Mean", MeanOptions{}},
          {"Sum", SumOptions{}},
          {"Constant", ConstantOptions{{0.5, 1, 2, 4}}},
          {"Random", RandomOptions{5}},
          {"PCGrad", PCGradOptions{}},
          {"PCGrad in random order", PCGradOptions{SeededOrder{7}}},
          {"GradVac", GradVacOptions{}},
          {"IMTLG", IMTLGOptions{}},
          {"MGDA", MGDAOptions{}},
          {"UPGrad", UPGradOptions{}},
          {"DualProj", DualProjOptions{}},
          {"CAGrad", CAGradOptions{}},
          {"NashMTL", NashMTLOptions{}},
          {"FairGrad", FairGradOptions{}},
          {"AlignedMTL", AlignedMTLOptions{}},
          {"Krum", KrumOptions{1, 2}},
          {"CRMOGM", smoothed},
          {"DBMTL", DBMTLOptions{}}};
}

std::vector<MomentumOptions> Momenta() {
  return {PseudoMomentumOptions{}, SeparateMomentumOptions{},
          NoMomentumOptions{}};
}

// Some losses of a step, at least one and in any order; the first step's are
// all of them.
std::vector<int> DrawLosses(bool all, std::mt19937* engine) {
  std::vector<int> indexes(kLosses);
  for (int i = 0; i < kLosses; ++i) indexes[i] = i;
  std::shuffle(indexes.begin(), indexes.end(), *engine);
  if (!all) {
    indexes.resize(std::uniform_int_distribution<int>(1, kLosses)(*engine));
  }
  return indexes;
}

// 2 … 5 parts of n elements, of at least one element each.
std::vector<size_t> DrawBounds(size_t n, std::mt19937* engine) {
  const int parts = std::uniform_int_distribution<int>(2, 5)(*engine);
  std::vector<size_t> bounds = {0, n};
  while (bounds.size() < static_cast<size_t>(parts) + 1) {
    const size_t at = std::uniform_int_distribution<size_t>(1, n - 1)(*engine);
    if (std::find(bounds.begin(), bounds.end(), at) == bounds.end()) {
      bounds.push_back(at);
    }
  }
  std::sort(bounds.begin(), bounds.end());
  return bounds;
}

std::vector<const void*> From(const Vectors& gradients, size_t offset) {
  std::vector<const void*> pointers;
  for (const auto& gradient : gradients) {
    pointers.push_back(gradient.data() + offset);
  }
  return pointers;
}

// Operators of the parts between `bounds`.
class Parts {
 public:
  Parts(OperatorOptions options, std::vector<size_t> bounds)
      : bounds_(std::move(bounds)) {
    options.sharded = true;
    for (size_t p = 0; p + 1 < bounds_.size(); ++p) {
      options.num_parameters = bounds_[p + 1] - bounds_[p];
      operators_.push_back(Make(options));
    }
  }

  size_t size() const { return operators_.size(); }
  MomentumOperator& operator[](size_t p) { return *operators_[p]; }

  void Ingest(const std::vector<int>& indexes, const Vectors& gradients) {
    for (size_t p = 0; p < size(); ++p) {
      const absl::Status status =
          operators_[p]->Ingest(indexes, From(gradients, bounds_[p]));
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  // What an all-reduce gives every part.
  Eigen::MatrixXd Sum() {
    Eigen::MatrixXd sum = Eigen::MatrixXd::Zero(kLosses, kLosses);
    for (const auto& part : operators_) sum += part->Products().value();
    return sum;
  }

  void Solve(const std::vector<int>& loss_indexes,
             const std::vector<double>& losses) {
    const Eigen::MatrixXd sum = Sum();
    for (const auto& part : operators_) {
      const absl::Status status = part->Solve(loss_indexes, losses, {}, &sum);
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  std::vector<double> Commit() {
    std::vector<double> update(bounds_.back(), -7.0);
    for (size_t p = 0; p < size(); ++p) {
      const absl::Status status = operators_[p]->Commit(
          update.data() + bounds_[p], false, [](size_t) {});
      EXPECT_TRUE(status.ok()) << status;
    }
    return update;
  }

  std::vector<double> Step(const std::vector<int>& indexes,
                           const Vectors& gradients) {
    Ingest(indexes, gradients);
    Solve({}, {});
    return Commit();
  }

 private:
  const std::vector<size_t> bounds_;
  std::vector<std::unique_ptr<MomentumOperator>> operators_;
};

Vectors Draw(size_t count, size_t n, std::mt19937* engine) {
  Vectors gradients;
  for (size_t k = 0; k < count; ++k) {
    gradients.push_back(RandomVector<double>(n, engine));
  }
  return gradients;
}

void ExpectClose(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  double square = 0, norm = 0;
  for (size_t e = 0; e < a.size(); ++e) {
    square += (a[e] - b[e]) * (a[e] - b[e]);
    norm += b[e] * b[e];
  }
  EXPECT_LE(std::sqrt(square), 1e-12 * std::max(1.0, std::sqrt(norm)));
}

OperatorOptions SomeOptions(size_t n, MomentumOptions momentum = {}) {
  OperatorOptions options = Options<double>(kLosses, n);
  options.momentum = std::move(momentum);
  return options;
}

class EveryCombiner : public ::testing::TestWithParam<NamedCombiner> {};

TEST_P(EveryCombiner, GivesThePartsOfTheWholeUpdateWhereverItIsCut) {
  std::mt19937 engine(20261127);
  for (const MomentumOptions& momentum : Momenta()) {
    for (int cut = 0; cut < 3; ++cut) {
      const size_t n = std::uniform_int_distribution<size_t>(40, 9000)(engine);
      OperatorOptions options = SomeOptions(n, momentum);
      options.combiner = GetParam().options;
      auto whole = Make(options);
      Parts parts(options, DrawBounds(n, &engine));
      for (int step = 0; step < 6; ++step) {
        const bool all = step < 1 || momentum.index() == 2;
        const std::vector<int> indexes = DrawLosses(all, &engine);
        const Vectors gradients = Draw(indexes.size(), n, &engine);
        const std::vector<double> expected =
            Step<double>(whole.get(), indexes, gradients);
        ExpectClose(parts.Step(indexes, gradients), expected);
        const StepSolution& first = *parts[0].committed();
        EXPECT_TRUE(first.gram.isApprox(whole->committed()->gram, 1e-13));
        for (size_t p = 1; p < parts.size(); ++p) {
          const StepSolution& other = *parts[p].committed();
          EXPECT_TRUE(SameBits(first.combination.coefficients,
                               other.combination.coefficients));
          EXPECT_EQ(first.gram, other.gram);
          EXPECT_EQ(first.cosines, other.cosines);
          EXPECT_EQ(first.direction_cosines, other.direction_cosines);
          EXPECT_EQ(first.combination.length, other.combination.length);
          EXPECT_EQ(parts[0].Stored().numbers.gram,
                    parts[p].Stored().numbers.gram);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    ShardedOperator, EveryCombiner, ::testing::ValuesIn(GramCombiners()),
    [](const ::testing::TestParamInfo<NamedCombiner>& info) {
      std::string name = info.param.name;
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    });

TEST(ShardedOperator, TheListAboveHasEveryCombinerThatAGramMatrixIsEnoughFor) {
  size_t found = 0;
  std::vector<std::string> seen;
  for (const NamedCombiner& named : GramCombiners()) {
    const auto combiner = *MakeCombiner(named.options, kLosses);
    EXPECT_FALSE(combiner->works_on_columns());
    const std::string name(combiner->name());
    if (std::find(seen.begin(), seen.end(), name) == seen.end()) ++found;
    seen.push_back(name);
  }
  EXPECT_EQ(found + 2, CombinerNames().size());  // GradDrop, TrimmedMean.
}

TEST(ShardedOperator, OfAllParametersIsBitForBitTheOneThatIsNot) {
  std::mt19937 engine(3);
  const size_t n = 10007;
  for (const MomentumOptions& momentum : Momenta()) {
    auto whole = Make(SomeOptions(n, momentum));
    Parts parts(SomeOptions(n, momentum), {0, n});
    for (int step = 0; step < 8; ++step) {
      const std::vector<int> indexes = DrawLosses(step == 3, &engine);
      const Vectors gradients = Draw(indexes.size(), n, &engine);
      const auto expected = Step<double>(whole.get(), indexes, gradients);
      EXPECT_TRUE(SameBits(parts.Step(indexes, gradients), expected));
      EXPECT_EQ(parts[0].committed()->gram, whole->committed()->gram);
      EXPECT_EQ(parts[0].Export()->momenta, whole->Export()->momenta);
    }
  }
}

TEST(ShardedOperator, ProductsAreThoseOfTheStepsLossesAlone) {
  std::mt19937 engine(4);
  const size_t n = 500;
  Parts parts(SomeOptions(n), {0, n});
  parts.Step({0, 1, 2, 3}, Draw(4, n, &engine));
  const Vectors gradient = Draw(1, n, &engine);
  parts.Ingest({2}, gradient);
  const Eigen::MatrixXd products = parts.Sum();
  for (int i = 0; i < kLosses; ++i) {
    for (int j = 0; j < kLosses; ++j) {
      EXPECT_EQ(products(i, j) != 0, i == 2 || j == 2) << i << ", " << j;
    }
  }
  const Eigen::MatrixXd before = parts[0].Stored().numbers.gram;
  parts.Solve({}, {});
  parts.Commit();
  const Eigen::MatrixXd after = parts[0].Stored().numbers.gram;
  EXPECT_EQ(after.row(2), products.row(2));
  EXPECT_EQ(after.col(2), products.col(2));
  EXPECT_EQ(after(0, 1), before(0, 1));
  EXPECT_EQ(after(3, 3), before(3, 3));
}

// A loss that is long on one part and nearly zero on another one: both must
// see the whole vector's norm.
TEST(ShardedOperator, WhoTakesPartIsDecidedByTheWholeVectorsNorms) {
  std::mt19937 engine(5);
  const size_t n = 600;
  const OperatorOptions options =
      SomeOptions(n, PseudoMomentumOptions{0.9, 0.999, {0, 0.1}});
  auto whole = Make(options);
  Parts parts(options, {0, 300, n});
  Vectors gradients = Draw(kLosses, n, &engine);
  for (size_t e = 0; e < 300; ++e)
    gradients[1][e] *= 1e-9;                         // Long all the same.
  for (double& value : gradients[2]) value *= 1e-3;  // Short.
  const auto expected = Step<double>(whole.get(), {0, 1, 2, 3}, gradients);
  ExpectClose(parts.Step({0, 1, 2, 3}, gradients), expected);
  for (size_t p = 0; p < parts.size(); ++p) {
    EXPECT_EQ(parts[p].committed()->stale, std::vector<int>{2});
  }
}

TEST(ShardedOperator, WhatIsOutOfScaleIsDecidedByTheWholeVectorsNorms) {
  const size_t n = 2;
  OperatorOptions options = SomeOptions(n, PseudoMomentumOptions{0.9, 0.999});
  options.num_vectors = 1;
  options.dtype = Dtype::kFloat32;
  options.sharded = true;
  options.num_parameters = 1;
  auto part = Make(options);
  const float gradient = 1;
  ASSERT_TRUE(part->Ingest({0}, {&gradient}).ok());
  Eigen::MatrixXd sum = *part->Products();
  // The other parts' norm alone is beyond what squares in float32 can be.
  sum(0, 0) += 1e40;
  EXPECT_EQ(GetErrorReason(part->Solve({}, {}, {}, &sum)), "OUT_OF_SCALE");
  sum = *part->Products();
  EXPECT_TRUE(part->Solve({}, {}, {}, &sum).ok());
}

TEST(ShardedOperator, ARefusedSolveChangesNothingAndMayBeRepeated) {
  std::mt19937 engine(6);
  const size_t n = 5000;
  for (const MomentumOptions& momentum : Momenta()) {
    Parts parts(SomeOptions(n, momentum), {0, 1234, n});
    Parts twin(SomeOptions(n, momentum), {0, 1234, n});
    Vectors gradients = Draw(kLosses, n, &engine);
    parts.Step({0, 1, 2, 3}, gradients);
    twin.Step({0, 1, 2, 3}, gradients);
    const OperatorState before = *parts[0].Export();

    gradients = Draw(2, n, &engine);
    parts.Ingest({3, 0}, gradients);
    const Eigen::MatrixXd good = parts.Sum();
    Eigen::MatrixXd bad = good;
    bad(3, 1) = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(GetErrorReason(parts[0].Solve({}, {}, {}, &bad)),
              "INVALID_MATRIX");
    bad = good;
    bad(0, 0) = -1;
    EXPECT_EQ(GetErrorReason(parts[0].Solve({}, {}, {}, &bad)),
              "INVALID_MATRIX");
    const Eigen::MatrixXd small = Eigen::MatrixXd::Identity(3, 3);
    EXPECT_EQ(GetErrorReason(parts[0].Solve({}, {}, {}, &small)),
              "INVALID_MATRIX");
    EXPECT_EQ(GetErrorReason(parts[0].Solve({}, {}, {9}, &good)),
              "INDEX_OUT_OF_RANGE");
    EXPECT_EQ(GetErrorReason(parts[0].Solve({0}, {1.0}, {}, &good)),
              "LOSSES_WITHOUT_RECORDER");
    EXPECT_EQ(parts[0].solution(), nullptr);
    EXPECT_EQ(parts[0].Export()->momenta, before.momenta);
    EXPECT_EQ(parts[0].Export()->others, before.others);
    EXPECT_EQ(parts[0].Stored().numbers.gram, before.gram);

    // The same staged rows, and the step as if nothing had been.
    parts.Solve({}, {});
    EXPECT_TRUE(SameBits(parts.Commit(), twin.Step({3, 0}, gradients)));
    gradients = Draw(1, n, &engine);
    EXPECT_TRUE(
        SameBits(parts.Step({1}, gradients), twin.Step({1}, gradients)));
  }
}

TEST(ShardedOperator, AStepGivenUpAfterTheSolveLeavesNothing) {
  std::mt19937 engine(7);
  const size_t n = 300;
  Parts parts(SomeOptions(n), {0, 100, n}), twin(SomeOptions(n), {0, 100, n});
  const Vectors first = Draw(kLosses, n, &engine);
  parts.Ingest({0, 1, 2, 3}, Draw(kLosses, n, &engine));
  parts.Solve({}, {});
  for (size_t p = 0; p < parts.size(); ++p) parts[p].Reset();
  EXPECT_EQ(GetErrorReason(parts[0].Products().status()), "EMPTY_ROUND");
  EXPECT_TRUE(SameBits(parts.Step({0, 1, 2, 3}, first),
                       twin.Step({0, 1, 2, 3}, first)));
}

TEST(ShardedOperator, RecordsTheLossesThatSolveIsGiven) {
  std::mt19937 engine(8);
  const size_t n = 300;
  OperatorOptions options = SomeOptions(n);
  options.loss_recorder = LatestLossRecorderOptions{};
  ConFIGOptions weighted;
  weighted.weight = DynamicWeightAverageOptions{};
  options.combiner = weighted;
  auto whole = Make(options);
  Parts parts(options, {0, 200, n});
  for (int step = 0; step < 4; ++step) {
    const Vectors gradients = Draw(kLosses, n, &engine);
    const std::vector<double> losses = {1.0 + step, 2, 0.5 / (1 + step), 3};
    ASSERT_TRUE(whole->Ingest({0, 1, 2, 3}, From(gradients, 0)).ok());
    ASSERT_TRUE(whole->Solve({0, 1, 2, 3}, losses).ok());
    std::vector<double> expected(n);
    ASSERT_TRUE(whole->Commit(expected.data(), false, [](size_t) {}).ok());
    parts.Ingest({0, 1, 2, 3}, gradients);
    parts.Solve({0, 1, 2, 3}, losses);
    ExpectClose(parts.Commit(), expected);
    EXPECT_EQ(parts[1].committed()->losses, losses);
  }
}

TEST(ShardedOperator, GoesOnBitForBitFromTheStatesOfItsParts) {
  std::mt19937 engine(9);
  const size_t n = 4321;
  for (const MomentumOptions& momentum : Momenta()) {
    const std::vector<size_t> bounds = {0, 17, 4000, n};
    Parts parts(SomeOptions(n, momentum), bounds);
    Parts resumed(SomeOptions(n, momentum), bounds);
    parts.Step({0, 1, 2, 3}, Draw(kLosses, n, &engine));
    parts.Step({1, 2}, Draw(2, n, &engine));
    for (size_t p = 0; p < parts.size(); ++p) {
      ASSERT_TRUE(resumed[p].Import(*parts[p].Export()).ok());
    }
    const Vectors gradients = Draw(2, n, &engine);
    EXPECT_TRUE(SameBits(parts.Step({3, 1}, gradients),
                         resumed.Step({3, 1}, gradients)));
  }
}

TEST(ShardedOperator, RefusesCombinersOnColumnsInPlainWords) {
  OperatorOptions options = SomeOptions(10);
  options.sharded = true;
  auto op = Make(options);
  for (const CombinerOptions& combiner :
       {CombinerOptions(GradDropOptions{}),
        CombinerOptions(TrimmedMeanOptions{1})}) {
    options.combiner = combiner;
    for (const absl::Status& status :
         {MomentumOperator::Validate(options), op->Reconfigure(options),
          MomentumOperator::Create(options, MakeCpuKernels(1)).status()}) {
      EXPECT_EQ(GetErrorDetail(status)->reason, "INVALID_OPTION");
      EXPECT_EQ(GetErrorDetail(status)->field, "combiner");
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("this one works element by element"));
    }
  }
}

TEST(ShardedOperator, WantsTheSumAndAnyOtherOperatorNone) {
  std::mt19937 engine(10);
  const Vectors gradient = Draw(1, 50, &engine);
  Parts parts(SomeOptions(50), {0, 50});
  parts.Ingest({0}, gradient);
  const Eigen::MatrixXd sum = parts.Sum();
  EXPECT_EQ(GetErrorDetail(parts[0].Solve({}, {}))->field, "products");
  EXPECT_TRUE(parts[0].Solve({}, {}, {}, &sum).ok());
  auto whole = Make(SomeOptions(50));
  ASSERT_TRUE(whole->Ingest({0}, From(gradient, 0)).ok());
  EXPECT_EQ(GetErrorDetail(whole->Solve({}, {}, {}, &sum))->field, "products");
  EXPECT_TRUE(whole->Solve({}, {}).ok());
}

TEST(ShardedOperator, StaysWhatItIsBetweenSteps) {
  OperatorOptions options = SomeOptions(10);
  auto op = Make(options);
  options.sharded = true;
  EXPECT_EQ(GetErrorReason(op->Reconfigure(options)), "IMMUTABLE_OPTION");
  EXPECT_EQ(GetErrorDetail(op->Reconfigure(options))->field, "sharded");
}

TEST(ShardedOperator, RefusesTheUpdatesCosinesAndStaysSolved) {
  std::mt19937 engine(11);
  Parts parts(SomeOptions(50), {0, 50}), twin(SomeOptions(50), {0, 50});
  const Vectors gradients = Draw(kLosses, 50, &engine);
  parts.Ingest({0, 1, 2, 3}, gradients);
  parts.Solve({}, {});
  std::vector<double> update(50, -7.0);
  const absl::Status status =
      parts[0].Commit(update.data(), true, [](size_t) {});
  EXPECT_EQ(GetErrorDetail(status)->field, "update_cosines");
  EXPECT_EQ(update, std::vector<double>(50, -7.0));
  EXPECT_FALSE(parts[0].broken());
  EXPECT_TRUE(SameBits(parts.Commit(), twin.Step({0, 1, 2, 3}, gradients)));
}

}  // namespace
}  // namespace concord
