#include "operators/combine/combiner.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"

namespace concord {
namespace {

TEST(Cosines, AZeroVectorHasZeroCosines) {
  Eigen::MatrixXd gram(2, 2);
  gram << 4, 0, 0, 0;
  Eigen::MatrixXd expected(2, 2);
  expected << 1, 0, 0, 0;
  EXPECT_EQ(Cosines(gram), expected);
}

TEST(ValidateGram, RefusesWhatIsNoGramMatrixNamingTheEntry) {
  const auto reason = [](const Eigen::MatrixXd& gram) {
    return GetErrorReason(ValidateGram(gram));
  };
  Eigen::MatrixXd good(2, 2);
  good << 2, 1, 1, 2;
  EXPECT_TRUE(ValidateGram(good).ok());
  EXPECT_EQ(reason(Eigen::MatrixXd::Ones(2, 3)), "INVALID_MATRIX");
  EXPECT_EQ(reason(Eigen::MatrixXd(0, 0)), "INVALID_MATRIX");
  Eigen::MatrixXd bad = good;
  bad(0, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(GetErrorDetail(ValidateGram(bad))->field, "gram[0,1]");
  bad = good;
  bad(1, 0) = 1.5;
  EXPECT_EQ(reason(bad), "INVALID_MATRIX");
  bad = good;
  bad(1, 1) = -2;
  EXPECT_EQ(GetErrorDetail(ValidateGram(bad))->field, "gram[1,1]");
}

TEST(CombinerNames, ConFIGIsServed) {
  EXPECT_THAT(CombinerNames(), ::testing::Contains("ConFIGOperator"));
}

}  // namespace
}  // namespace concord
