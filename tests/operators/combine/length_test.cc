#include "operators/combine/length.h"

#include "gtest/gtest.h"
#include "operators/combine/config.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

struct Tracking {
  const char* name;
  LengthOptions options;
  double tracked;  // Of vectors of lengths 1, 4 and 16.
};

TEST(Length, TracksOneLengthForAllVectorsWithoutTheZeroOnes) {
  const Tracking kTrackings[] = {
      {"minimum", TrackMinimumOptions(), 1},
      {"maximum", TrackMaximumOptions(), 16},
      {"harmonic", TrackHarmonicAverageOptions(), 3 / (1 + .25 + .0625)},
      {"arithmetic", TrackArithmeticAverageOptions(), 7},
      {"geometric", TrackGeometricAverageOptions(), 4},
      {"specific", TrackSpecificOptions{2}, 4},
  };
  Eigen::MatrixXd vectors = Eigen::MatrixXd::Zero(4, 3);
  vectors(0, 0) = 1;
  vectors(2, 1) = 4;
  vectors(3, 2) = 16;
  for (const Tracking& tracking : kTrackings) {
    SCOPED_TRACE(tracking.name);
    CombineInput input;
    input.gram = vectors * vectors.transpose();
    const auto result =
        (*MakeConFIG(ConFIGOptions{{}, tracking.options}, 4))->Solve(input);
    // All three cosines are 1 / sqrt(3).
    EXPECT_NEAR(result->length, tracking.tracked * std::sqrt(3), 1e-13);
    EXPECT_NEAR(result->coefficients[0], tracking.tracked, 1e-13);
    EXPECT_NEAR(result->coefficients[3], tracking.tracked / 16, 1e-13);
    EXPECT_EQ(result->coefficients[1], 0);
    EXPECT_TRUE(result->conflict_free);
  }
}

TEST(Length, TheLengthIsTheTrackedOneTimesTheSumOfTheCosines) {
  std::mt19937 engine(1);
  for (int m = 1; m <= 6; ++m) {
    SCOPED_TRACE(absl::StrCat("seed 1, m = ", m));
    const Eigen::MatrixXd vectors = RandomNormal(m, 20, &engine);
    CombineInput input;
    input.gram = vectors * vectors.transpose();
    const ConFIGOptions options{{}, TrackMaximumOptions()};
    const auto result = (*MakeConFIG(options, m))->Solve(input);
    const Eigen::VectorXd direction =
        vectors.transpose() *
        Eigen::Map<const Eigen::VectorXd>(result->coefficients.data(), m);
    const Eigen::VectorXd norms = vectors.rowwise().norm();
    const Eigen::VectorXd cosines =
        (vectors * direction).cwiseQuotient(norms) / direction.norm();
    EXPECT_NEAR(direction.norm(), norms.maxCoeff() * cosines.sum(), 1e-12);
    EXPECT_LT(cosines.maxCoeff() - cosines.minCoeff(), 1e-12);
  }
}

TEST(Length, TrackingAZeroVectorGivesZero) {
  Eigen::MatrixXd vectors = Eigen::Matrix3d::Identity();
  vectors.row(1).setZero();
  CombineInput input;
  input.gram = vectors * vectors.transpose();
  const ConFIGOptions options{{}, TrackSpecificOptions{1}};
  const auto result = (*MakeConFIG(options, 3))->Solve(input);
  EXPECT_EQ(result->length, 0);
  EXPECT_EQ(result->coefficients, std::vector<double>(3, 0.0));
  EXPECT_TRUE(result->pareto_stationary);
  EXPECT_FALSE(result->conflict_free);
}

TEST(Length, TheTrackedVectorIsPickedByItsIndex) {
  CombineInput input;
  input.gram = Eigen::Vector2d(1, 25).asDiagonal();
  const std::vector<int> indexes = {0, 2};
  input.indexes = indexes;
  const auto solve = [&](int index) {
    const ConFIGOptions options{{}, TrackSpecificOptions{index}};
    return (*MakeConFIG(options, 3))->Solve(input);
  };
  EXPECT_NEAR(solve(2)->length, 5 * std::sqrt(2), 1e-14);
  EXPECT_EQ(GetErrorDetail(solve(1).status())->field,
            "combiner.config.length.track_specific.index");
}

TEST(Length, AnIndexOutOfRangeIsRefused) {
  for (const int index : {-1, 3}) {
    const ConFIGOptions options{{}, TrackSpecificOptions{index}};
    EXPECT_EQ(GetErrorDetail(MakeConFIG(options, 3).status())->field,
              "combiner.config.length.track_specific.index");
  }
}

}  // namespace
}  // namespace concord
