#include "tests/operators/combine/combine_testing.h"

#include "absl/strings/str_cat.h"

namespace concord {

Combined Combine(const Eigen::MatrixXd& vectors, const CombinerOptions& options,
                 const std::vector<double>& state) {
  CombineInput input;
  input.gram = vectors * vectors.transpose();
  input.state = state;
  Combined result;
  result.combination =
      *(*MakeCombiner(options, static_cast<int>(vectors.rows())))->Solve(input);
  const auto& c = result.combination.coefficients;
  result.coefficients = Eigen::Map<const Eigen::VectorXd>(c.data(), c.size());
  result.direction = vectors.transpose() * result.coefficients;
  result.products = vectors * result.direction;
  return result;
}

Eigen::MatrixXd RandomNormal(int m, int n, std::mt19937* engine) {
  std::normal_distribution<double> normal;
  return Eigen::MatrixXd::NullaryExpr(m, n, [&] { return normal(*engine); });
}

std::vector<Case> RandomCases(int seed, int most) {
  std::mt19937 engine(seed);
  std::vector<Case> cases;
  const auto add = [&](const char* kind, const Eigen::MatrixXd& vectors) {
    cases.push_back({absl::StrCat(kind, ", m = ", vectors.rows(), ", seed ",
                                  seed, ", case ", cases.size()),
                     vectors});
  };
  for (int repeat = 0; repeat < 8; ++repeat) {
    for (int m = 1; m <= most; ++m) {
      const Eigen::MatrixXd vectors = RandomNormal(m, 10, &engine);
      add("well-conditioned", vectors);
      if (m == 1) continue;
      add("conflicting", vectors.rowwise() - 0.9 * vectors.colwise().mean());
      Eigen::MatrixXd hard = vectors;
      hard.row(1) = hard.row(0) + 1e-3 * hard.row(1);
      add("equal to 1e-3", hard);
      hard = vectors;
      hard.row(1) = -hard.row(0) + 1e-2 * hard.row(1);
      add("opposing to 1e-2", hard);
      hard = vectors;
      hard.row(0) *= 1e-6;
      hard.row(1) *= 1e6;
      add("scaled", hard);
      if (m > 2) add("more rows than columns", RandomNormal(m, 2, &engine));
    }
  }
  return cases;
}

}  // namespace concord
