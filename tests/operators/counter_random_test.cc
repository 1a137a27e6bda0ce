#include "operators/counter_random.h"

#include <cmath>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace concord {
namespace {

using ::testing::ElementsAre;

// Known answers of the authors' own implementation (Random123).
TEST(Philox, GivesThePublishedBlocks) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(Philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                     {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(NormalAt, HasMeanZeroAndVarianceOne) {
  constexpr int kDraws = 100000;
  double sum = 0, squares = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const double x = NormalAt({17, 3, 0}, draw);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
}

TEST(ShuffledAt, DrawsEveryOrderAboutEquallyOften) {
  std::map<std::vector<int>, int> counts;
  constexpr int kDraws = 6000;
  for (int step = 0; step < kDraws; ++step) {
    ++counts[ShuffledAt({1, static_cast<uint64_t>(step), 0}, {0, 1, 2})];
  }
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(UniformAt, DependsOnSeedStepStreamAndDraw) {
  const double one = UniformAt({1, 2, 3}, 4);
  EXPECT_EQ(one, UniformAt({1, 2, 3}, 4));
  EXPECT_NE(one, UniformAt({2, 2, 3}, 4));
  EXPECT_NE(one, UniformAt({1, 3, 3}, 4));
  EXPECT_NE(one, UniformAt({1, 2, 4}, 4));
  EXPECT_NE(one, UniformAt({1, 2, 3}, 5));
}

}  // namespace
}  // namespace concord
