#include "operators/combine/krum.h"

#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/combine/combine_testing.h"

namespace concord {
namespace {

// The algorithm on the vectors themselves.
Eigen::VectorXd PlainKrum(const Eigen::MatrixXd& vectors,
                          const KrumOptions& options) {
  const int m = static_cast<int>(vectors.rows());
  std::vector<std::pair<double, int>> scores;
  for (int i = 0; i < m; ++i) {
    std::vector<double> distances;
    for (int j = 0; j < m; ++j) {
      const double d = (vectors.row(i) - vectors.row(j)).norm();
      if (j != i) distances.push_back(options.squared ? d * d : d);
    }
    std::sort(distances.begin(), distances.end());
    distances.resize(m - options.n_byzantine - 2);
    scores.push_back(
        {std::accumulate(distances.begin(), distances.end(), 0.0), i});
  }
  std::sort(scores.begin(), scores.end());
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(vectors.cols());
  for (int k = 0; k < options.n_selected; ++k) {
    sum += vectors.row(scores[k].second);
  }
  return sum / options.n_selected;
}

TEST(Krum, AgreesWithTheAlgorithmOnVectors) {
  std::mt19937 engine(1);
  for (int repeat = 0; repeat < 100; ++repeat) {
    SCOPED_TRACE(absl::StrCat("seed 1, repeat ", repeat));
    const int m = 3 + repeat % 6;
    const Eigen::MatrixXd vectors = RandomNormal(m, 4, &engine);
    KrumOptions options;
    options.n_byzantine = repeat % (m - 2);
    options.n_selected = 1 + repeat % m;
    options.squared = repeat % 2 == 1;
    EXPECT_TRUE(Combine(vectors, options)
                    .direction.isApprox(PlainKrum(vectors, options), 1e-13));
  }
}

TEST(Krum, AnOutlierIsNotSelected) {
  Eigen::MatrixXd vectors(5, 2);
  vectors << 1, 0, 1.1, 0, .9, 0, 1, .1, -1e6, 1e6;
  KrumOptions options;
  options.n_byzantine = 1;
  options.n_selected = 4;
  EXPECT_EQ(Combine(vectors, options).coefficients[4], 0);
}

TEST(Krum, TiesGoToTheLowestIndex) {
  const Eigen::MatrixXd vectors = Eigen::Matrix4d::Identity();
  EXPECT_EQ(Combine(vectors, KrumOptions()).coefficients,
            Eigen::VectorXd(Eigen::Vector4d(1, 0, 0, 0)));
}

TEST(Krum, TooFewVectorsAreRefusedNamingTheOption) {
  const auto field = [](const KrumOptions& options, int m) {
    return GetErrorDetail(MakeCombiner(options, m).status())->field;
  };
  EXPECT_EQ(field({1, 1, false}, 3), "combiner.krum.n_byzantine");
  EXPECT_EQ(field({-1, 1, false}, 3), "combiner.krum.n_byzantine");
  EXPECT_EQ(field({0, 4, false}, 3), "combiner.krum.n_selected");
  EXPECT_EQ(field({0, 0, false}, 3), "combiner.krum.n_selected");
  CombineInput input;
  input.gram = Eigen::Matrix2d::Identity();
  const auto combiner = *MakeCombiner(KrumOptions(), 3);
  EXPECT_EQ(GetErrorDetail(combiner->Solve(input).status())->field,
            "combiner.krum.n_byzantine");
}

}  // namespace
}  // namespace concord
