#include "operators/momentum/participation.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kCount = 5000;

std::vector<float> Gradient(unsigned seed, double scale = 1) {
  return SeededVector<float>(kCount, seed, scale);
}

OperatorOptions WithParticipation(ParticipationOptions participation, int m) {
  OperatorOptions options = Options<float>(m, kCount);
  options.momentum = PseudoMomentumOptions{0.9, 0.999, participation};
  return options;
}

TEST(Participation, OptionsOutOfRangeAreNamed) {
  const auto field = [](ParticipationOptions participation) {
    return GetErrorDetail(
               MomentumOperator::Validate(WithParticipation(participation, 2)))
        ->field;
  };
  EXPECT_EQ(field({-1, 0}), "stale_after");
  EXPECT_EQ(field({0, 1}), "min_relative_norm");
  EXPECT_EQ(field({0, std::numeric_limits<double>::quiet_NaN()}),
            "min_relative_norm");
}

TEST(Participation, ByDefaultALossWithoutGradientsVotesForEver) {
  auto op = Make(Options<float>(2, kCount));
  Step<float>(op.get(), {0, 1}, {Gradient(1), Gradient(2)});
  for (int step = 0; step < 50; ++step) {
    Step<float>(op.get(), {0}, {Gradient(10 + step)});
  }
  EXPECT_THAT(op->committed()->stale, IsEmpty());
  EXPECT_NE(op->committed()->combination.coefficients[1], 0);
}

TEST(Participation, AStaleLossIsLeftOutAndComesBackWithItsNextUpdate) {
  auto op = Make(WithParticipation({2, 0}, 2));
  Step<float>(op.get(), {0, 1}, {Gradient(1), Gradient(2)});
  for (int since = 1; since <= 2; ++since) {
    Step<float>(op.get(), {0}, {Gradient(3)});
    EXPECT_THAT(op->committed()->stale, IsEmpty()) << since;
  }
  Step<float>(op.get(), {0}, {Gradient(4)});
  EXPECT_THAT(op->committed()->stale, ElementsAre(1));
  EXPECT_EQ(op->committed()->combination.coefficients[1], 0);
  // Alone, the other loss's momentum is the direction.
  EXPECT_NEAR(op->committed()->combination.coefficients[0], 1, 1e-12);
  Step<float>(op.get(), {1}, {Gradient(5)});
  EXPECT_THAT(op->committed()->stale, IsEmpty());
  EXPECT_NE(op->committed()->combination.coefficients[1], 0);
}

TEST(Participation, ALossWhoseGradientHasVanishedIsLeftOut) {
  auto op = Make(WithParticipation({0, 1e-3}, 2));
  const std::vector<float> zeros(kCount, 0.0f);
  Step<float>(op.get(), {0, 1}, {Gradient(1), Gradient(2)});
  int left_out_at = -1;
  for (int step = 1; step < 100 && left_out_at < 0; ++step) {
    Step<float>(op.get(), {0, 1}, {Gradient(10 + step), zeros});
    if (!op->committed()->stale.empty()) left_out_at = step;
  }
  // The bias correction's fall from 10 to 1 counts too: after about 50 steps.
  EXPECT_GT(left_out_at, 20);
  EXPECT_THAT(op->committed()->stale, ElementsAre(1));
}

TEST(Participation, UnseenLossesAreWaitedForNotLeftOut) {
  auto op = Make(WithParticipation({1, 0.5}, 2));
  for (int step = 0; step < 4; ++step) {
    const auto update = Step<float>(op.get(), {0}, {Gradient(step + 1)});
    EXPECT_TRUE(op->committed()->warming_up);
    EXPECT_EQ(update, std::vector<float>(kCount, 0.0f));
  }
}

absl::Status SolveActive(MomentumOperator* op, const std::vector<int>& active) {
  return op->Solve({}, {}, active);
}

TEST(ActiveLosses, OnlyTheyAreCombinedAndAllMomentaMoveOn) {
  auto op = Make(Options<float>(3, kCount));
  auto twin = Make(Options<float>(3, kCount));
  const std::vector<std::vector<float>> gradients = {Gradient(1), Gradient(2),
                                                     Gradient(3)};
  Step<float>(op.get(), {0, 1, 2}, gradients);
  Step<float>(twin.get(), {0, 1, 2}, gradients);
  const std::vector<const void*> pointers = {
      gradients[1].data(), gradients[2].data(), gradients[0].data()};
  ASSERT_TRUE(op->Ingest({0, 1, 2}, pointers).ok());
  ASSERT_TRUE(SolveActive(op.get(), {2, 0}).ok());
  EXPECT_EQ(op->solution()->combination.coefficients[1], 0);
  EXPECT_TRUE(op->solution()->combination.conflict_free);
  EXPECT_NEAR(op->solution()->direction_cosines[0],
              op->solution()->direction_cosines[2], 1e-12);
  std::vector<float> update(kCount);
  ASSERT_TRUE(op->Commit(update.data(), true, [](size_t) {}).ok());
  Step<float>(twin.get(), {0, 1, 2},
              {gradients[1], gradients[2], gradients[0]});
  EXPECT_EQ(op->Export()->momenta, twin->Export()->momenta);
}

TEST(ActiveLosses, ThoseThatAreSeenNeedNotWaitForTheOthers) {
  auto op = Make(Options<float>(3, kCount));
  const auto gradient = Gradient(1);
  ASSERT_TRUE(op->Ingest({1}, {gradient.data()}).ok());
  ASSERT_TRUE(SolveActive(op.get(), {1}).ok());
  EXPECT_FALSE(op->solution()->warming_up);
}

TEST(ActiveLosses, ABadMaskIsNamedAndChangesNothing) {
  auto op = Make(Options<float>(2, kCount));
  const auto gradient = Gradient(1);
  ASSERT_TRUE(op->Ingest({0}, {gradient.data()}).ok());
  EXPECT_EQ(GetErrorReason(SolveActive(op.get(), {2})), "INDEX_OUT_OF_RANGE");
  EXPECT_EQ(GetErrorReason(SolveActive(op.get(), {1, 1})), "DUPLICATE_INDEX");
  EXPECT_EQ(GetErrorDetail(SolveActive(op.get(), {0, -1}))->field, "active[1]");
  EXPECT_EQ(op->committed_steps(), 0);
  EXPECT_TRUE(SolveActive(op.get(), {}).ok());
}

TEST(ActiveLosses, WithoutMomentumTheyArePickedAmongTheSteps) {
  OperatorOptions options = Options<float>(3, kCount);
  options.momentum = NoMomentumOptions{};
  auto op = Make(options);
  const auto a = Gradient(1), b = Gradient(2);
  ASSERT_TRUE(op->Ingest({0, 2}, {a.data(), b.data()}).ok());
  EXPECT_EQ(GetErrorDetail(SolveActive(op.get(), {1}))->field, "active");
  ASSERT_TRUE(SolveActive(op.get(), {2}).ok());
  EXPECT_THAT(op->solution()->combination.coefficients,
              ElementsAre(0, ::testing::DoubleNear(1, 1e-12)));
  std::vector<float> update(kCount);
  ASSERT_TRUE(op->Commit(update.data(), false, [](size_t) {}).ok());
  EXPECT_EQ(update, b);
}

}  // namespace
}  // namespace concord
