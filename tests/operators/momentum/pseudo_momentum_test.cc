#include "operators/momentum/pseudo_momentum.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/momentum/random_steps.h"
#include "tests/operators/plain_momentum.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

template <class T>
class PseudoMomentumTest : public RandomStepsTest<T> {
 protected:
  static constexpr double kBound = std::is_same_v<T, float> ? 2e-6 : 1e-10;
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PseudoMomentumTest, Types);

TYPED_TEST(PseudoMomentumTest, TwoHundredStepsOfRandomSubsetsFollowTheOracle) {
  using T = TypeParam;
  // In the first live steps the update is a quotient of two small sums where
  // losses cancel in an element; fp32 momenta round there as they would in any
  // program that stores them so. The more elements, the smaller the smallest.
  const size_t n = 1009;
  for (const int m : {1, 2, 3, 5}) {
    auto op = Make(Options<T>(m, n));
    PlainMomentum plain(m, n, 0.9, 0.999);
    double worst = 0;
    for (int step = 0; step < 200; ++step) {
      this->Draw(m, n);
      const auto update = Step<T>(op.get(), this->indexes_, this->gradients_);
      const Eigen::VectorXd expected =
          plain.Step(this->indexes_, this->Gradients());
      const double size = std::max(1.0, expected.cwiseAbs().maxCoeff());
      for (size_t e = 0; e < n; ++e) {
        worst = std::max(worst, std::abs(update[e] - expected[e]) / size);
      }
    }
    EXPECT_LE(worst, this->kBound) << "m = " << m;
    this->RecordProperty("worst_m" + std::to_string(m), std::to_string(worst));
    std::printf("m = %d: worst error %.2e of max(1, |out|)\n", m, worst);
  }
}

TYPED_TEST(PseudoMomentumTest, RecomputeGivesTheCommittedUpdatesBits) {
  using T = TypeParam;
  const size_t n = 300007;
  auto op = Make(Options<T>(3, n));
  for (int step = 0; step < 6; ++step) {
    this->Draw(3, n);
    const auto update = Step<T>(op.get(), this->indexes_, this->gradients_);
    std::vector<T> again(n, T(-1));
    ASSERT_TRUE(op->Recompute(again.data()).ok());
    EXPECT_TRUE(SameBits(update, again)) << "step " << step;
  }
}

TYPED_TEST(PseudoMomentumTest, AnExportedStateCarriesOnBitForBit) {
  using T = TypeParam;
  const size_t n = 5000;
  auto op = Make(Options<T>(3, n));
  for (int step = 0; step < 5; ++step) {
    this->Draw(3, n);
    Step<T>(op.get(), this->indexes_, this->gradients_);
  }
  auto other = Make(Options<T>(3, n));
  ASSERT_TRUE(other->Import(*op->Export()).ok());
  EXPECT_EQ(other->committed_steps(), 5);
  for (int step = 0; step < 3; ++step) {
    this->Draw(3, n);
    EXPECT_TRUE(
        SameBits(Step<T>(op.get(), this->indexes_, this->gradients_),
                 Step<T>(other.get(), this->indexes_, this->gradients_)));
  }
  // A state of another size changes nothing.
  auto small = Make(Options<T>(3, n - 1));
  EXPECT_EQ(small->Import(*op->Export()).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(small->committed_steps(), 0);
}

TYPED_TEST(PseudoMomentumTest, ABrokenStepChangesNothing) {
  using T = TypeParam;
  const size_t n = 5000;
  auto options = Options<T>(3, n, 2);
  auto op = Make(options), twin = Make(options);
  const auto both = [&] {
    const auto a = Step<T>(op.get(), this->indexes_, this->gradients_);
    const auto b = Step<T>(twin.get(), this->indexes_, this->gradients_);
    return SameBits(a, b);
  };
  this->indexes_ = {0, 1};
  this->gradients_ = {RandomVector<T>(n, &this->engine_),
                      RandomVector<T>(n, &this->engine_)};
  ASSERT_TRUE(both());
  this->indexes_ = {2};
  this->gradients_.resize(1);
  ASSERT_TRUE(both());

  const auto good = RandomVector<T>(n, &this->engine_);
  auto nan = good, inf = good;
  nan[4321] = std::numeric_limits<T>::quiet_NaN();
  inf[0] = -std::numeric_limits<T>::infinity();
  const struct {
    std::vector<int> indexes;
    std::vector<const void*> gradients;
    std::string reason, message;
  } cases[] = {
      {{3}, {good.data()}, "INDEX_OUT_OF_RANGE", "accepted: 0 … 2"},
      {{-1}, {good.data()}, "INDEX_OUT_OF_RANGE", "index = -1"},
      {{1, 1}, {good.data(), good.data()}, "DUPLICATE_INDEX", "index = 1"},
      {{0, 1, 2},
       {good.data(), good.data(), good.data()},
       "TOO_MANY_VECTORS",
       "at most 2"},
      {{0, 1}, {good.data()}, "LENGTH_MISMATCH", "2, one per index"},
      {{0, 2}, {good.data(), nan.data()}, "NON_FINITE", "vector 2[4321]"},
      {{0}, {inf.data()}, "NON_FINITE", "vector 0[0]"},
  };
  for (const auto& c : cases) {
    const absl::Status status = op->Ingest(c.indexes, c.gradients);
    EXPECT_EQ(GetErrorReason(status), c.reason);
    EXPECT_THAT(status.message(), HasSubstr(c.message));
    EXPECT_EQ(GetErrorReason(op->Solve({}, {})), "EMPTY_ROUND") << c.reason;
    EXPECT_EQ(op->committed_steps(), twin->committed_steps());
    this->gradients_ = {RandomVector<T>(n, &this->engine_)};
    EXPECT_TRUE(both()) << "the step after " << c.reason;
  }
  // Losses without recorder, found at the solve.
  const void* pointer = good.data();
  ASSERT_TRUE(op->Ingest({1}, {pointer}).ok());
  EXPECT_EQ(GetErrorReason(op->Solve({1}, {0.5})), "LOSSES_WITHOUT_RECORDER");
  op->Reset();
  EXPECT_TRUE(both());
}

TEST(PseudoMomentum, TheUpdateIsZeroUntilEveryLossHasBeenSeen) {
  std::mt19937 engine(5);
  auto op = Make(Options<float>(3, 100));
  for (const int index : {0, 1, 0}) {
    EXPECT_THAT(
        Step<float>(op.get(), {index}, {RandomVector<float>(100, &engine)}),
        Each(0.0f));
    EXPECT_TRUE(op->committed()->warming_up);
    EXPECT_FALSE(op->committed()->combination.conflict_free);
  }
  const auto update =
      Step<float>(op.get(), {2}, {RandomVector<float>(100, &engine)});
  EXPECT_THAT(update, ::testing::Contains(::testing::Ne(0.0f)));
  EXPECT_FALSE(op->committed()->warming_up);
  EXPECT_TRUE(op->committed()->combination.conflict_free);
}

TEST(PseudoMomentum, ReportsTheCosinesOfDirectionAndUpdate) {
  const size_t n = 9000;
  std::mt19937 engine(6);
  auto op = Make(Options<double>(3, n));
  std::vector<std::vector<double>> gradients;
  std::vector<const void*> pointers;
  for (int i = 0; i < 3; ++i)
    gradients.push_back(RandomVector<double>(n, &engine));
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  ASSERT_TRUE(op->Ingest({0, 1, 2}, pointers).ok());
  const auto update = Finish<double>(op.get(), true);
  const StepSolution& solution = *op->committed();
  // After one update of each the momenta are the gradients.
  const Eigen::Map<const Eigen::VectorXd> u(update.data(), n);
  for (int i = 0; i < 3; ++i) {
    const Eigen::Map<const Eigen::VectorXd> g(gradients[i].data(), n);
    EXPECT_NEAR(solution.update_cosines[i], g.dot(u) / g.norm() / u.norm(),
                1e-12);
    EXPECT_NEAR(solution.direction_cosines[i], solution.direction_cosines[0],
                1e-12);
    EXPECT_GT(solution.direction_cosines[i], 0.5);
    for (int j = 0; j < 3; ++j) {
      const Eigen::Map<const Eigen::VectorXd> h(gradients[j].data(), n);
      EXPECT_NEAR(solution.cosines(i, j), g.dot(h) / g.norm() / h.norm(),
                  1e-12);
    }
  }
}

TEST(PseudoMomentum, LossesAreRecordedWithTheStepTheyCameWith) {
  auto options = Options<float>(2, 10);
  options.loss_recorder = LatestLossRecorderOptions{};
  auto op = Make(options);
  std::mt19937 engine(7);
  const auto gradient = RandomVector<float>(10, &engine);
  const void* pointer = gradient.data();
  ASSERT_TRUE(op->Ingest({0}, {pointer}).ok());
  ASSERT_TRUE(op->Solve({0}, {2.5}).ok());
  EXPECT_EQ(op->recorder()->losses()[0], 0);  // Not yet.
  std::vector<float> update(10);
  ASSERT_TRUE(op->Commit(update.data(), false, [](size_t) {}).ok());
  EXPECT_EQ(op->recorder()->losses()[0], 2.5);
  EXPECT_THAT(op->committed()->losses, ::testing::ElementsAre(2.5, 0));
  // Refused losses leave recorder and step as they were.
  ASSERT_TRUE(op->Ingest({0}, {pointer}).ok());
  EXPECT_EQ(GetErrorReason(op->Solve({5}, {1.0})), "INDEX_OUT_OF_RANGE");
  op->Reset();
  EXPECT_EQ(op->recorder()->losses()[0], 2.5);
  EXPECT_EQ(op->committed_steps(), 1);
}

TEST(PseudoMomentum, AStepWhoseSquareWouldOverflowIsRefused) {
  auto op = Make(Options<float>(1, 4)), twin = Make(Options<float>(1, 4));
  const std::vector<float> fine = {1, 2, 3, 4}, huge = {1e30f, 0, 0, 0};
  Step<float>(op.get(), {0}, {fine});
  Step<float>(twin.get(), {0}, {fine});
  const void* pointer = huge.data();
  ASSERT_TRUE(op->Ingest({0}, {pointer}).ok());
  EXPECT_EQ(GetErrorReason(op->Solve({}, {})), "OUT_OF_SCALE");
  op->Reset();
  EXPECT_TRUE(SameBits(Step<float>(op.get(), {0}, {fine}),
                       Step<float>(twin.get(), {0}, {fine})));
}

TEST(PseudoMomentum, OptionsOutOfRangeAreRefusedNamingTheField) {
  const auto message = [](OperatorOptions options) {
    const absl::Status status = MomentumOperator::Validate(options);
    EXPECT_EQ(GetErrorReason(status), "INVALID_OPTION");
    return std::string(status.message());
  };
  auto options = Options<float>(3, 10);
  EXPECT_TRUE(MomentumOperator::Validate(options).ok());
  auto bad = options;
  bad.num_vectors = 0;
  EXPECT_THAT(message(bad), HasSubstr("num_vectors = 0"));
  bad = options;
  bad.num_parameters = 0;
  EXPECT_THAT(message(bad), HasSubstr("num_parameters = 0"));
  bad.num_parameters = std::numeric_limits<size_t>::max();
  EXPECT_THAT(message(bad), HasSubstr("num_parameters"));
  bad = options;
  bad.max_vectors_per_step = 4;
  EXPECT_THAT(message(bad), HasSubstr("max_vectors_per_step = 4"));
  bad = options;
  bad.momentum = PseudoMomentumOptions{1.0, 0.9};
  EXPECT_THAT(message(bad), HasSubstr("beta_1 = 1"));
  bad.momentum = PseudoMomentumOptions{0.9, std::nan("")};
  EXPECT_THAT(message(bad), HasSubstr("beta_2 = nan"));
  bad = options;
  bad.combiner = ConFIGOptions{GivenWeightOptions{{1, 2}}, {}};
  EXPECT_THAT(message(bad), HasSubstr("weights"));
}

TEST(PseudoMomentum, MemoryIsRowsSecondMomentumAndStagedRows) {
  EXPECT_EQ(MomentumOperator::MemoryBytes(Options<float>(3, 1000, 1)),
            5 * 1008 * 4);
  EXPECT_EQ(MomentumOperator::MemoryBytes(Options<double>(3, 1000)),
            7 * 1000 * 8);
}

}  // namespace
}  // namespace concord
