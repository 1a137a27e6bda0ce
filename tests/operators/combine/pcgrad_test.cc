#include "operators/combine/pcgrad.h"

#include <algorithm>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// Algorithm 1 on the vectors themselves; `order` gives the others' order.
Eigen::VectorXd PlainPCGrad(const Eigen::MatrixXd& vectors,
                            const std::vector<int>& order) {
  Eigen::MatrixXd projected = vectors;
  for (Eigen::Index i = 0; i < vectors.rows(); ++i) {
    for (const int j : order) {
      const double dot = projected.row(i).dot(vectors.row(j));
      if (j == i || dot >= 0) continue;
      projected.row(i) -= dot / vectors.row(j).squaredNorm() * vectors.row(j);
    }
  }
  return projected.colwise().sum();
}

std::vector<int> Ascending(Eigen::Index m) {
  std::vector<int> order(m);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

TEST(PCGrad, AgreesWithTheAlgorithmOnVectors) {
  for (const Case& problem : RandomCases(1)) {
    SCOPED_TRACE(problem.name);
    const Combined result = Combine(problem.vectors, PCGradOptions());
    const Eigen::VectorXd expected =
        PlainPCGrad(problem.vectors, Ascending(problem.vectors.rows()));
    EXPECT_LT((result.direction - expected).norm(), 1e-11 * expected.norm());
  }
}

TEST(PCGrad, TakesAnExplicitOrder) {
  std::mt19937 engine(2);
  const Eigen::MatrixXd vectors =
      RandomNormal(4, 3, &engine).rowwise() - Eigen::RowVector3d(.5, 0, .5);
  const std::vector<int> order = {2, 0, 3, 1};
  const Combined result = Combine(vectors, PCGradOptions{ExplicitOrder{order}});
  const Eigen::VectorXd expected = PlainPCGrad(vectors, order);
  EXPECT_LT((result.direction - expected).norm(), 1e-13);
  EXPECT_FALSE(
      result.direction.isApprox(PlainPCGrad(vectors, Ascending(4)), 1e-6));
}

TEST(PCGrad, ARandomOrderIsNewInEveryStepAndRepeatsWithIt) {
  std::mt19937 engine(3);
  const Eigen::MatrixXd vectors = RandomNormal(5, 3, &engine);
  const PCGradOptions options{SeededOrder{11}};
  const Combined first = Combine(vectors, options);
  const Combined second = Combine(vectors, options, first.combination.state);
  EXPECT_FALSE(second.direction.isApprox(first.direction, 1e-6));
  EXPECT_EQ(Combine(vectors, options, first.combination.state).direction,
            second.direction);
  EXPECT_THAT(second.combination.state, ::testing::ElementsAre(2));
}

TEST(PCGrad, TwoConflictingVectorsBecomeConflictFree) {
  Eigen::MatrixXd vectors(2, 2);
  vectors << 1, 0, -1, 1;
  const Combined result = Combine(vectors, PCGradOptions());
  EXPECT_TRUE(result.direction.isApprox(Eigen::Vector2d(.5, 1.5), 1e-15));
  EXPECT_TRUE(result.combination.conflict_free);
}

TEST(PCGrad, AnOpposingPairIsParetoStationary) {
  Eigen::MatrixXd vectors(2, 3);
  vectors << .1, .2, .3, -.3, -.6, -.9;
  const Combined result = Combine(vectors, PCGradOptions());
  EXPECT_TRUE(result.direction.isZero(0));
  EXPECT_TRUE(result.combination.pareto_stationary);
}

TEST(PCGrad, AnOrderThatIsNoPermutationIsRefused) {
  for (const std::vector<int>& order :
       {std::vector<int>{0, 1}, {0, 1, 1}, {0, 1, 3}, {-1, 0, 1}}) {
    const absl::Status status =
        MakeCombiner(PCGradOptions{ExplicitOrder{order}}, 3).status();
    EXPECT_EQ(GetErrorDetail(status)->field, "combiner.pcgrad.order");
  }
}

}  // namespace
}  // namespace concord
