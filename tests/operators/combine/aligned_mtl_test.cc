#include "operators/combine/aligned_mtl.h"

#include <algorithm>

#include "Eigen/SVD"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// From the singular value decomposition of the vectors themselves: the aligned
// vectors are s U V', their combination s V U' p.
Eigen::VectorXd PlainAligned(const Eigen::MatrixXd& vectors, AlignedScale scale,
                             const Eigen::VectorXd& p) {
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(
      vectors, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::VectorXd& values = svd.singularValues();  // Descending.
  const Eigen::Index rank = (values.array() > 1e-6 * values[0]).count();
  double s = values[rank - 1];
  if (scale == AlignedScale::kMedian) s = values[rank / 2];
  if (scale == AlignedScale::kRootMeanSquare) {
    s = std::sqrt(values.head(rank).squaredNorm() / rank);
  }
  return s * svd.matrixV().leftCols(rank) *
         (svd.matrixU().leftCols(rank).transpose() * p);
}

TEST(AlignedMTL, AgreesWithTheSingularValueDecomposition) {
  for (const Case& problem : RandomCases(1)) {
    const Eigen::MatrixXd& vectors = problem.vectors;
    const bool hard = problem.name.rfind("equal", 0) == 0 ||
                      problem.name.rfind("scaled", 0) == 0;
    if (problem.name.rfind("scaled", 0) == 0) continue;  // Below the cutoff.
    for (const AlignedScale scale :
         {AlignedScale::kMinimum, AlignedScale::kMedian,
          AlignedScale::kRootMeanSquare}) {
      SCOPED_TRACE(
          absl::StrCat(problem.name, ", scale ", static_cast<int>(scale)));
      AlignedMTLOptions options;
      options.scale = scale;
      const Combined result = Combine(vectors, options);
      const auto m = vectors.rows();
      const Eigen::VectorXd expected =
          PlainAligned(vectors, scale, Eigen::VectorXd::Constant(m, 1.0 / m));
      EXPECT_LT((result.direction - expected).norm(),
                (hard ? 1e-6 : 1e-9) * expected.norm());
    }
  }
}

TEST(AlignedMTL, ThePreferenceWeighsTheAlignedVectors) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 2, 0, 0, 8;
  AlignedMTLOptions options;
  options.preference = {1, 3};
  EXPECT_TRUE(Combine(vectors, options)
                  .direction.isApprox(Eigen::Vector2d(2, 6), 1e-14));
  options.scale = AlignedScale::kMedian;  // The lower one of two.
  EXPECT_TRUE(Combine(vectors, options)
                  .direction.isApprox(Eigen::Vector2d(2, 6), 1e-14));
}

TEST(AlignedMTL, AnOpposingPairOfEqualLengthIsParetoStationary) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 2, -1, -2;
  const Combined result = Combine(vectors, AlignedMTLOptions());
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
  EXPECT_EQ(result.combination.rank, 1);
}

TEST(AlignedMTL, APreferenceThatIsNotPositiveIsRefused) {
  AlignedMTLOptions options;
  options.preference = {1, 0};
  EXPECT_EQ(GetErrorDetail(MakeCombiner(options, 2).status())->field,
            "combiner.aligned_mtl.preference[1]");
}

}  // namespace
}  // namespace concord
