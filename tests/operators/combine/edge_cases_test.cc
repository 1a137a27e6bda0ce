// What every combiner promises, whatever the vectors: finite numbers, flags
// that are true, length and rank of what is returned.
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

struct Method {
  std::string name;
  CombinerOptions (*options)(int m);
};

// One line per method and setting.
// clang-format off
const Method kMethods[] = {
    {"ConFIG", [](int) -> CombinerOptions { return ConFIGOptions(); }},
    {"ConFIGWeighted", [](int m) -> CombinerOptions { return ConFIGOptions{GivenWeightOptions{std::vector<double>(m, 2.0)}, {}}; }},
    {"Mean", [](int) -> CombinerOptions { return MeanOptions(); }},
    {"Sum", [](int) -> CombinerOptions { return SumOptions(); }},
    {"Constant", [](int m) -> CombinerOptions { return ConstantOptions{std::vector<double>(m, 3.0)}; }},
    {"Random", [](int) -> CombinerOptions { return RandomOptions{5}; }},
    {"PCGrad", [](int) -> CombinerOptions { return PCGradOptions(); }},
    {"PCGradSeeded", [](int) -> CombinerOptions { return PCGradOptions{SeededOrder{5}}; }},
    {"GradVac", [](int) -> CombinerOptions { return GradVacOptions(); }},
    {"IMTLG", [](int) -> CombinerOptions { return IMTLGOptions(); }},
    {"MGDA", [](int) -> CombinerOptions { return MGDAOptions(); }},
    {"UPGrad", [](int) -> CombinerOptions { return UPGradOptions(); }},
    {"UPGradRegularised", [](int) -> CombinerOptions { return UPGradOptions{{}, 1e-4}; }},
    {"DualProj", [](int) -> CombinerOptions { return DualProjOptions(); }},
    {"CAGrad", [](int) -> CombinerOptions { return CAGradOptions{0.5}; }},
    {"CAGradWide", [](int) -> CombinerOptions { return CAGradOptions{1.0}; }},
    {"NashMTL", [](int) -> CombinerOptions { return NashMTLOptions(); }},
    {"NashMTLScheduled", [](int) -> CombinerOptions { return NashMTLOptions{0, 2}; }},
    {"FairGrad", [](int) -> CombinerOptions { return FairGradOptions{2}; }},
    {"FairGradSteep", [](int) -> CombinerOptions { return FairGradOptions{.05}; }},
    {"AlignedMTL", [](int) -> CombinerOptions { return AlignedMTLOptions(); }},
    {"Krum", [](int) -> CombinerOptions { return KrumOptions(); }},
};
// clang-format on

// Vectors that gradients come close to sooner or later.
std::vector<Case> EdgeCases() {
  std::mt19937 engine(9);
  const Eigen::MatrixXd normal = RandomNormal(4, 6, &engine);
  std::vector<Case> cases;
  const auto add = [&](const std::string& name,
                       const Eigen::MatrixXd& vectors) {
    cases.push_back({name, vectors});
  };
  add("one vector", normal.topRows(1));
  add("one zero vector", Eigen::MatrixXd::Zero(1, 3));
  add("all zero", Eigen::MatrixXd::Zero(3, 3));
  Eigen::MatrixXd edge = normal;
  edge.row(2).setZero();
  add("a zero row", edge);
  edge.row(0).setZero();
  edge.row(1).setZero();
  add("all rows but one zero", edge);
  edge = normal;
  edge.row(1) = edge.row(0);
  add("a duplicate", edge);
  edge.rowwise() = normal.row(0);
  add("all equal", edge);
  edge.row(1) *= 2;
  edge.row(2) *= 1e-3;
  add("all parallel", edge);
  edge = normal.topRows(2);
  edge.row(1) = -edge.row(0);
  add("opposing", edge);
  edge.row(1) *= 3;
  add("opposing, of other length", edge);
  edge = normal;
  edge.row(3) = -2 * edge.row(1);
  add("an opposing pair among others", edge);
  edge = normal.topRows(3);
  edge.row(2) = -edge.row(0) - edge.row(1);
  add("three that cancel", edge);
  add("more rows than columns", normal.leftCols(2));
  add("one column", normal.leftCols(1));
  add("tiny", 1e-30 * normal);
  add("huge", 1e30 * normal);
  edge = normal;
  edge.row(0) *= 1e-6;
  edge.row(2) *= 1e6;
  add("scales", edge);
  edge.row(0) *= 1e-14;
  edge.row(2) *= 1e14;
  add("scales of forty orders", edge);
  for (const double distance : {1e-3, 1e-5, 1e-8}) {
    edge = normal;
    edge.row(1) = edge.row(0) + distance * edge.row(1);
    add(absl::StrCat("equal to ", distance), edge);
    edge = normal;
    edge.row(1) = -edge.row(0) + distance * edge.row(1);
    add(absl::StrCat("opposing to ", distance), edge);
  }
  return cases;
}

class EveryCombiner : public ::testing::TestWithParam<Method> {
 protected:
  // None where the method refuses so few vectors.
  static absl::StatusOr<Combination> Solve(const Eigen::MatrixXd& vectors) {
    const int m = static_cast<int>(vectors.rows());
    const auto combiner = MakeCombiner(GetParam().options(m), m);
    if (!combiner.ok()) return combiner.status();
    CombineInput input;
    input.gram = vectors * vectors.transpose();
    return (*combiner)->Solve(input);
  }
  static bool Refuses(const Eigen::MatrixXd& vectors) {
    return GetParam().name == "Krum" && vectors.rows() < 3;
  }
};

TEST_P(EveryCombiner, GivesFiniteNumbersAndTrueFlags) {
  for (const Case& edge : EdgeCases()) {
    SCOPED_TRACE(edge.name);
    const Eigen::MatrixXd& vectors = edge.vectors;
    const absl::StatusOr<Combination> result = Solve(vectors);
    ASSERT_EQ(result.ok(), !Refuses(vectors));
    if (!result.ok()) continue;
    ASSERT_EQ(static_cast<int>(result->coefficients.size()), vectors.rows());
    for (const double c : result->coefficients) ASSERT_TRUE(std::isfinite(c));
    for (const double s : result->state) ASSERT_TRUE(std::isfinite(s));
    ASSERT_TRUE(std::isfinite(result->length));

    const Eigen::Map<const Eigen::VectorXd> c(result->coefficients.data(),
                                              vectors.rows());
    const Eigen::VectorXd direction = vectors.transpose() * c;
    const Eigen::VectorXd norms = vectors.rowwise().norm();
    const double terms = c.cwiseAbs().dot(norms);
    EXPECT_NEAR(result->length, direction.norm(), 1e-7 * terms);
    if (result->pareto_stationary) {
      EXPECT_FALSE(result->conflict_free);
      EXPECT_LE(direction.norm(), 1e-6 * terms);
    }
    const int largest_rank =
        static_cast<int>(std::min(vectors.cols(), (norms.array() > 0).count()));
    EXPECT_LE(result->rank, largest_rank);
    EXPECT_GE(result->rank, std::min(1, largest_rank));

    // Relative products; those within rounding of zero decide nothing.
    bool conflict_free = norms.maxCoeff() > 0;
    bool decided = true;
    for (Eigen::Index i = 0; i < norms.size(); ++i) {
      if (norms[i] == 0) continue;
      const double product =
          terms > 0 ? vectors.row(i).dot(direction) / norms[i] / terms : 0;
      conflict_free &= product > 0;
      decided &= std::abs(product) > 1e-11 || product == 0;
    }
    if (decided && edge.name != "more rows than columns" &&
        edge.name != "one column") {
      EXPECT_EQ(result->conflict_free, conflict_free);
    }
    // Least squares is never called conflict-free where it is not.
    if (result->conflict_free && decided) {
      EXPECT_TRUE(conflict_free);
    }
  }
}

TEST_P(EveryCombiner, OneVectorGivesItsDirection) {
  const Eigen::RowVector3d vector(1, 2, -2);
  const absl::StatusOr<Combination> result = Solve(vector);
  if (Refuses(vector)) return;
  EXPECT_GT(result->coefficients[0], 0);
  EXPECT_TRUE(result->conflict_free);
  EXPECT_NEAR(result->length, 3 * result->coefficients[0], 1e-14);
  EXPECT_EQ(result->rank, 1);
}

TEST_P(EveryCombiner, OnlyZeroVectorsGiveZero) {
  const absl::StatusOr<Combination> result = Solve(Eigen::Matrix3d::Zero());
  EXPECT_EQ(result->length, 0);
  EXPECT_EQ(result->rank, 0);
  EXPECT_FALSE(result->conflict_free);
}

TEST_P(EveryCombiner, AnExactlyOpposingPairOfEqualLengthIsParetoStationary) {
  Eigen::MatrixXd vectors(2, 3);
  vectors << .1, .2, .3, -.1, -.2, -.3;
  if (Refuses(vectors)) return;
  const absl::StatusOr<Combination> result = Solve(vectors);
  EXPECT_FALSE(result->conflict_free);
  // Random weights are not equal.
  if (GetParam().name == "Random") return;
  EXPECT_TRUE(result->pareto_stationary);
  EXPECT_LE(result->length, 1e-8);
}

TEST_P(EveryCombiner, IsFoundByItsNameAndComparesItsOptions) {
  const CombinerOptions options = GetParam().options(4);
  EXPECT_THAT(CombinerNames(),
              ::testing::Contains((*MakeCombiner(options, 4))->name()));
  EXPECT_EQ(options, GetParam().options(4));
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryCombiner, ::testing::ValuesIn(kMethods),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace concord
