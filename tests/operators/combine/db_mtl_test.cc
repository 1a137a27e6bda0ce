#include "operators/combine/db_mtl.h"

#include "gtest/gtest.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

TEST(DBMTL, SumsTheVectorsAtTheLengthOfTheLongest) {
  for (const Case& c : RandomCases(1)) {
    SCOPED_TRACE(c.name);
    Eigen::VectorXd expected = Eigen::VectorXd::Zero(c.vectors.cols());
    const double longest = c.vectors.rowwise().norm().maxCoeff();
    for (Eigen::Index i = 0; i < c.vectors.rows(); ++i) {
      expected += longest * c.vectors.row(i).normalized();
    }
    const Combined found = Combine(c.vectors, DBMTLOptions());
    EXPECT_LE((found.direction - expected).norm(),
              1e-12 * longest * c.vectors.rows());
  }
}

TEST(DBMTL, DropsAZeroVectorAndSaysWhereVectorsCancel) {
  Eigen::MatrixXd vectors(3, 2);
  vectors << 3, 0, 0, 0, 0, 1;
  EXPECT_TRUE(Combine(vectors, DBMTLOptions())
                  .direction.isApprox(Eigen::Vector2d(3, 3)));
  vectors.row(2) << -7, 0;
  const Combined opposed = Combine(vectors, DBMTLOptions());
  EXPECT_TRUE(opposed.direction.isZero(0));
  EXPECT_TRUE(opposed.combination.pareto_stationary);
  const Combined none = Combine(Eigen::MatrixXd::Zero(2, 2), DBMTLOptions());
  EXPECT_TRUE(none.direction.isZero(0));
  EXPECT_FALSE(none.combination.pareto_stationary);
}

}  // namespace
}  // namespace concord
