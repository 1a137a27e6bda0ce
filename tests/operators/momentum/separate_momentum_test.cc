#include "operators/momentum/separate_momentum.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/momentum/random_steps.h"
#include "tests/operators/plain_momentum.h"
#include "tests/operators/plain_separate.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

template <class T>
OperatorOptions SeparateOptions(int m, size_t n, int k = 0) {
  OperatorOptions options = Options<T>(m, n, k);
  options.momentum = SeparateMomentumOptions{};
  return options;
}

template <class T>
class SeparateMomentumTest : public RandomStepsTest<T> {
 protected:
  static constexpr double kBound = std::is_same_v<T, float> ? 4e-6 : 1e-10;
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SeparateMomentumTest, Types);

TYPED_TEST(SeparateMomentumTest, AHundredStepsOfRandomSubsetsFollowTheOracle) {
  using T = TypeParam;
  const size_t n = 1009;
  for (const int m : {1, 2, 3, 5}) {
    auto op = Make(SeparateOptions<T>(m, n));
    PlainSeparate plain(m, n, 0.9, 0.999);
    double worst = 0;
    for (int step = 0; step < 100; ++step) {
      this->Draw(m, n);
      const Eigen::MatrixXd gradients = this->Gradients();
      for (size_t k = 0; k < this->indexes_.size(); ++k) {
        plain.Ingest(this->indexes_[k], gradients.row(k));
      }
      const auto update = Step<T>(op.get(), this->indexes_, this->gradients_);
      const Eigen::VectorXd expected =
          plain.warming_up()
              ? Eigen::VectorXd(Eigen::VectorXd::Zero(n))
              : PlainConFIG(plain.Rows(), Eigen::VectorXd::Ones(m));
      const double size = std::max(1.0, expected.cwiseAbs().maxCoeff());
      for (size_t e = 0; e < n; ++e) {
        worst = std::max(worst, std::abs(update[e] - expected[e]) / size);
      }
    }
    EXPECT_LE(worst, this->kBound) << "m = " << m;
    std::printf("m = %d: worst error %.2e of max(1, |out|)\n", m, worst);
  }
}

TYPED_TEST(SeparateMomentumTest, PiecesAndThreadsDoNotChangeABit) {
  using T = TypeParam;
  const size_t n = 100003;
  auto whole = Make(SeparateOptions<T>(3, n), 1);
  auto pieces = Make(SeparateOptions<T>(3, n), 3);
  for (int step = 0; step < 4; ++step) {
    this->Draw(3, n);
    const auto expected =
        Step<T>(whole.get(), this->indexes_, this->gradients_);
    // The rows come at the same time, in pieces of odd size.
    std::vector<MomentumOperator::StagedRow*> rows;
    for (const int index : this->indexes_)
      rows.push_back(*pieces->Stage(index));
    for (size_t at = 0; at < n * sizeof(T);) {
      const size_t count = std::min<size_t>(77777, n * sizeof(T) - at);
      for (size_t k = rows.size(); k-- > 0;) {
        ASSERT_TRUE(
            pieces
                ->Append(rows[k], Bytes(this->gradients_[k]).subspan(at, count))
                .ok());
      }
      at += count;
    }
    for (auto* row : rows) ASSERT_TRUE(pieces->Complete(row).ok());
    EXPECT_TRUE(SameBits(expected, Finish<T>(pieces.get()))) << step;
  }
}

TYPED_TEST(SeparateMomentumTest, RecomputeGivesTheCommittedUpdatesBits) {
  using T = TypeParam;
  const size_t n = 70001;
  auto op = Make(SeparateOptions<T>(3, n));
  for (int step = 0; step < 6; ++step) {
    this->Draw(3, n);
    const auto update = Step<T>(op.get(), this->indexes_, this->gradients_);
    std::vector<T> again(n, T(-1));
    ASSERT_TRUE(op->Recompute(again.data()).ok());
    EXPECT_TRUE(SameBits(update, again)) << "step " << step;
  }
}

TYPED_TEST(SeparateMomentumTest, AnExportedStateCarriesOnBitForBit) {
  using T = TypeParam;
  const size_t n = 5000;
  auto op = Make(SeparateOptions<T>(3, n));
  for (int step = 0; step < 5; ++step) {
    this->Draw(3, n);
    Step<T>(op.get(), this->indexes_, this->gradients_);
  }
  auto other = Make(SeparateOptions<T>(3, n));
  ASSERT_TRUE(other->Import(*op->Export()).ok());
  for (int step = 0; step < 3; ++step) {
    this->Draw(3, n);
    EXPECT_TRUE(
        SameBits(Step<T>(op.get(), this->indexes_, this->gradients_),
                 Step<T>(other.get(), this->indexes_, this->gradients_)));
  }
  // The state of another kind of operator is refused.
  EXPECT_EQ(other->Import(*Make(Options<T>(3, n))->Export()).code(),
            absl::StatusCode::kInvalidArgument);
}

TYPED_TEST(SeparateMomentumTest, ABrokenStepChangesNothing) {
  using T = TypeParam;
  const size_t n = 5000;
  auto op = Make(SeparateOptions<T>(2, n));
  auto twin = Make(SeparateOptions<T>(2, n));
  const auto a = SeededVector<T>(n, 1), b = SeededVector<T>(n, 2);
  Step<T>(op.get(), {0, 1}, {a, b});
  Step<T>(twin.get(), {0, 1}, {a, b});
  auto bad = a;
  bad[4321] = std::numeric_limits<T>::quiet_NaN();
  absl::Status status = op->Ingest({1, 0}, {b.data(), bad.data()});
  EXPECT_EQ(GetErrorReason(status), "NON_FINITE");
  EXPECT_EQ(GetErrorDetail(status)->field, "vector 0[4321]");
  // Its square does not fit into the second momentum.
  bad[4321] = std::sqrt(std::numeric_limits<T>::max());
  status = op->Ingest({0}, {bad.data()});
  EXPECT_EQ(GetErrorReason(status), "OUT_OF_SCALE");
  EXPECT_TRUE(
      SameBits(Step<T>(op.get(), {1}, {a}), Step<T>(twin.get(), {1}, {a})));
}

TYPED_TEST(SeparateMomentumTest, CosinesAreThoseOfTheRescaledMomenta) {
  using T = TypeParam;
  const size_t n = 30000;
  auto op = Make(SeparateOptions<T>(3, n));
  PlainSeparate plain(3, n, 0.9, 0.999);
  std::vector<std::vector<T>> gradients;
  for (int i = 0; i < 3; ++i) {
    gradients.push_back(SeededVector<T>(n, 40 + i));
    Eigen::VectorXd gradient(n);
    for (size_t e = 0; e < n; ++e) gradient[e] = gradients[i][e];
    plain.Ingest(i, gradient);
  }
  std::vector<const void*> pointers;
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  ASSERT_TRUE(op->Ingest({0, 1, 2}, pointers).ok());
  const auto update = Finish<T>(op.get(), /*update_cosines=*/true);
  Eigen::VectorXd out(n);
  for (size_t e = 0; e < n; ++e) out[e] = update[e];
  const Eigen::MatrixXd rows = plain.Rows();
  for (int i = 0; i < 3; ++i) {
    const double expected =
        rows.row(i).dot(out) / rows.row(i).norm() / out.norm();
    EXPECT_NEAR(op->committed()->update_cosines[i], expected, 1e-6);
    EXPECT_NEAR(op->committed()->direction_cosines[i], expected, 1e-6);
  }
}

TEST(SeparateMomentum, ReservesTwoVectorsForEveryLossAndStagedRow) {
  const OperatorOptions options = SeparateOptions<float>(3, 16 * 1024, 2);
  EXPECT_EQ(MomentumOperator::MemoryBytes(options),
            (2 * 3 + 2 * 2) * 64 * 1024);
}

}  // namespace
}  // namespace concord
