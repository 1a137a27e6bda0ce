#include "operators/momentum/no_momentum.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/plain_momentum.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

OperatorOptions NoMomentum(int m, size_t n) {
  OperatorOptions options = Options<float>(m, n);
  options.momentum = NoMomentumOptions{};
  return options;
}

TEST(NoMomentum, CombinesTheVectorsOfTheStepAlone) {
  const size_t n = 5001;
  std::mt19937 engine(1);
  auto op = Make(NoMomentum(4, n));
  for (const std::vector<int>& indexes :
       {std::vector<int>{0, 1, 2, 3}, {3, 1}, {2}, {1, 2, 3}}) {
    std::vector<std::vector<float>> gradients;
    Eigen::MatrixXd matrix(indexes.size(), n);
    for (size_t k = 0; k < indexes.size(); ++k) {
      gradients.push_back(RandomVector<float>(n, &engine));
      for (size_t e = 0; e < n; ++e) matrix(k, e) = gradients[k][e];
    }
    const auto update = Step<float>(op.get(), indexes, gradients);
    const Eigen::VectorXd expected =
        PlainConFIG(matrix, Eigen::VectorXd::Ones(indexes.size()));
    double error = 0;
    for (size_t e = 0; e < n; ++e) {
      error = std::max(error, std::abs(update[e] - expected[e]));
    }
    EXPECT_LT(error, 3e-7 * expected.cwiseAbs().maxCoeff());
    EXPECT_TRUE(op->committed()->combination.conflict_free);
    EXPECT_EQ(op->committed()->indexes.size(), indexes.size());
  }
  EXPECT_EQ(op->committed_steps(), 4);
}

TEST(NoMomentum, StreamedVectorsGiveTheSameBitsAsTheCallersOwn) {
  const size_t n = 10007;
  std::mt19937 engine(2);
  auto whole = Make(NoMomentum(2, n)), streamed = Make(NoMomentum(2, n));
  const std::vector<std::vector<float>> gradients = {
      RandomVector<float>(n, &engine), RandomVector<float>(n, &engine)};
  const auto expected = Step<float>(whole.get(), {0, 1}, gradients);
  for (const int i : {1, 0}) {
    auto* row = *streamed->Stage(i);
    ASSERT_TRUE(streamed->Append(row, Bytes(gradients[i])).ok());
    ASSERT_TRUE(streamed->Complete(row).ok());
  }
  EXPECT_TRUE(SameBits(Finish<float>(streamed.get()), expected));
}

TEST(NoMomentum, TheCallersVectorsAreNotChanged) {
  std::mt19937 engine(3);
  const std::vector<std::vector<float>> gradients = {
      RandomVector<float>(100, &engine), RandomVector<float>(100, &engine)};
  const auto before = gradients;
  auto op = Make(NoMomentum(2, 100));
  Step<float>(op.get(), {0, 1}, gradients);
  EXPECT_EQ(gradients, before);
}

TEST(NoMomentum, ItsUpdateCannotBeRecomputed) {
  auto op = Make(NoMomentum(1, 4));
  Step<float>(op.get(), {0}, {{1, 2, 3, 4}});
  float update[4];
  EXPECT_EQ(op->Recompute(update).code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace concord
