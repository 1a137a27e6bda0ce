#include "operators/losses/loss_recorder.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"

namespace concord {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<LossRecorder> Latest(int losses) {
  return *MakeLossRecorder(LatestLossRecorderOptions{}, losses);
}

TEST(LatestLossRecorder, LossesNotSeenAreZeroAndMarked) {
  auto recorder = Latest(3);
  ASSERT_TRUE(recorder->Record({2}, {4.5}).ok());
  EXPECT_THAT(recorder->losses(), ElementsAre(0, 0, 4.5));
  EXPECT_THAT(recorder->seen(), ElementsAre(false, false, true));
}

TEST(LatestLossRecorder, TheLatestValueStays) {
  auto recorder = Latest(2);
  ASSERT_TRUE(recorder->Record({0, 1}, {1, 2}).ok());
  ASSERT_TRUE(recorder->Record({0}, {-3}).ok());
  EXPECT_THAT(recorder->losses(), ElementsAre(-3, 2));
}

TEST(LatestLossRecorder, BadInputNamesTheFieldAndRecordsNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct {
    std::vector<int> indexes;
    std::vector<double> losses;
    std::string reason, field;
  } const cases[] = {
      {{0, 2}, {1, 1}, "INDEX_OUT_OF_RANGE", "losses[1].index"},
      {{-1}, {1}, "INDEX_OUT_OF_RANGE", "losses[0].index"},
      {{1, 1}, {1, 1}, "DUPLICATE_INDEX", "losses[1].index"},
      {{0, 1}, {1}, "LENGTH_MISMATCH", "losses"},
      {{0, 1}, {1, nan}, "NON_FINITE", "losses[1].value"},
      {{0, 1}, {1, INFINITY}, "NON_FINITE", "losses[1].value"},
  };
  auto recorder = Latest(2);
  ASSERT_TRUE(recorder->Record({0}, {7}).ok());
  for (const auto& c : cases) {
    const absl::Status status = recorder->Record(c.indexes, c.losses);
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.reason;
    EXPECT_EQ(GetErrorDetail(status)->reason, c.reason);
    EXPECT_EQ(GetErrorDetail(status)->field, c.field);
    EXPECT_THAT(recorder->losses(), ElementsAre(7, 0)) << c.reason;
    EXPECT_THAT(recorder->seen(), ElementsAre(true, false)) << c.reason;
  }
}

TEST(LatestLossRecorder, StateRestoresAClone) {
  auto recorder = Latest(2);
  ASSERT_TRUE(recorder->Record({1}, {5}).ok());
  auto other = Latest(2);
  ASSERT_TRUE(other->Restore(recorder->State()).ok());
  EXPECT_EQ(other->losses(), recorder->losses());
  EXPECT_EQ(other->seen(), recorder->seen());
  EXPECT_EQ(other->Restore({1, 2, 3}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MomentumLossRecorder, AveragesWithTheStartsBiasTakenOut) {
  auto recorder = *MakeLossRecorder(MomentumLossRecorderOptions{{0.5, 0.9}}, 2);
  ASSERT_TRUE(recorder->Record({0}, {4}).ok());
  // The first value is the value.
  EXPECT_DOUBLE_EQ(recorder->losses()[0], 4);
  EXPECT_THAT(recorder->seen(), ElementsAre(true, false));
  EXPECT_EQ(recorder->losses()[1], 0);
  ASSERT_TRUE(recorder->Record({0, 1}, {1, -2}).ok());
  EXPECT_DOUBLE_EQ(recorder->losses()[0], (0.25 * 4 + 0.5 * 1) / 0.75);
  EXPECT_DOUBLE_EQ(recorder->losses()[1], -2);
}

TEST(MomentumLossRecorder, OneBetaServesAllLossesAndNoneIsNineTenths) {
  for (const auto& betas : {std::vector<double>{0.9}, std::vector<double>{}}) {
    auto recorder = *MakeLossRecorder(MomentumLossRecorderOptions{betas}, 3);
    ASSERT_TRUE(recorder->Record({2}, {1}).ok());
    ASSERT_TRUE(recorder->Record({2}, {2}).ok());
    EXPECT_DOUBLE_EQ(recorder->losses()[2], (0.09 * 1 + 0.1 * 2) / (1 - 0.81));
  }
}

TEST(MomentumLossRecorder, StateRestoresAClone) {
  const MomentumLossRecorderOptions options{{0.3}};
  auto recorder = *MakeLossRecorder(options, 2);
  ASSERT_TRUE(recorder->Record({0}, {5}).ok());
  auto other = *MakeLossRecorder(options, 2);
  ASSERT_TRUE(other->Restore(recorder->State()).ok());
  for (auto* each : {recorder.get(), other.get()}) {
    ASSERT_TRUE(each->Record({0, 1}, {7, 8}).ok());
  }
  EXPECT_EQ(other->losses(), recorder->losses());
  EXPECT_EQ(other->seen(), recorder->seen());
}

TEST(MomentumLossRecorder, BetasOutOfRangeAreNamed) {
  const auto field = [](std::vector<double> betas) {
    return GetErrorDetail(
               MakeLossRecorder(MomentumLossRecorderOptions{betas}, 3).status())
        ->field;
  };
  EXPECT_EQ(field({0.1, 0.2}), "loss_recorder.momentum.betas");
  EXPECT_EQ(field({0.1, 0.2, 1}), "loss_recorder.momentum.betas[2]");
  EXPECT_EQ(field({std::nan("")}), "loss_recorder.momentum.betas[0]");
}

}  // namespace
}  // namespace concord
