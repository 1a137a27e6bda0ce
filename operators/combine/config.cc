#include "operators/combine/config.h"

#include <cmath>
#include <utility>

#include "operators/combine/gram.h"
#include "operators/combine/symmetric_eigen.h"

namespace concord {
namespace {

constexpr char kWeightsField[] = "combiner.config.weight.given.weights";
constexpr char kTrackedField[] = "combiner.config.length.track_specific.index";

constexpr double kInconsistent = 1e-6;  // Of |w|.

// What the unit vectors' part of the solution comes to.
struct UnitSolution {
  Eigen::VectorXd a;        // Coefficients of the unit vectors.
  Eigen::VectorXd cosines;  // C a: not yet divided by the length of a.
  int rank = 0;
  bool stationary = false;
  bool consistent = true;
};

UnitSolution SolvePair(double cosine) {
  UnitSolution solution;
  // Eigenvalues of [[1, c], [c, 1]] are 1 + c, of (1, 1), and 1 - c.
  solution.stationary = 1 + cosine <= kRankCutoff * (1 - cosine);
  const bool parallel = 1 - cosine <= kRankCutoff * (1 + cosine);
  solution.rank = solution.stationary || parallel ? 1 : 2;
  solution.a = Eigen::VectorXd::Ones(2);
  solution.cosines = Eigen::VectorXd::Constant(2, 1 + cosine);
  return solution;
}

UnitSolution SolveEigen(const Eigen::MatrixXd& cosines,
                        const Eigen::VectorXd& weights) {
  const SymmetricEigen eigen = DecomposeSymmetric(cosines);
  const Eigen::VectorXd& values = eigen.values;
  const double cutoff = kRankCutoff * values.maxCoeff();
  UnitSolution solution;
  solution.a = Eigen::VectorXd::Zero(weights.size());
  solution.cosines = Eigen::VectorXd::Zero(weights.size());
  double inside = 0;  // |V_r' w|^2
  for (Eigen::Index k = 0; k < values.size(); ++k) {
    if (values[k] <= cutoff) continue;
    ++solution.rank;
    const auto vector = eigen.vectors.col(k);
    const double part = vector.dot(weights);
    inside += part * part;
    solution.a += (part / values[k]) * vector;
    solution.cosines += part * vector;
  }
  const double norm = weights.norm();
  solution.stationary = std::sqrt(inside) <= kStationaryCutoff * norm;
  solution.consistent =
      (solution.cosines - weights).norm() <= kInconsistent * norm;
  return solution;
}

class ConFIG : public Combiner {
 public:
  explicit ConFIG(ConFIGOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kConFIGName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::Index m = input.gram.rows();
    Combination result;
    result.coefficients.assign(m, 0.0);

    const std::vector<Eigen::Index> rows = NonZeroRows(input.gram);
    const Eigen::Index count = static_cast<Eigen::Index>(rows.size());
    if (count == 0) return result;

    const Eigen::MatrixXd gram = input.gram(rows, rows);
    const Eigen::VectorXd norms = gram.diagonal().cwiseSqrt();
    const Eigen::MatrixXd cosines = Cosines(gram);
    const absl::StatusOr<Eigen::VectorXd> lengths =
        TrackedLengths(options_.length, input, norms, kTrackedField);
    if (!lengths.ok()) return lengths.status();

    UnitSolution unit;
    if (const auto* given = std::get_if<GivenWeightOptions>(&options_.weight)) {
      const absl::StatusOr<Eigen::VectorXd> weights =
          PickWeights(given->weights, input, kWeightsField);
      if (!weights.ok()) return weights.status();
      unit = SolveEigen(cosines, (*weights)(rows));
    } else if (count == 2) {
      unit = SolvePair(cosines(0, 1));
    } else {
      unit = SolveEigen(cosines, Eigen::VectorXd::Ones(count));
    }

    result.rank = unit.rank;
    // Lengths are all zero where the one vector that is tracked is.
    if (unit.stationary || lengths->maxCoeff() <= 0) {
      result.pareto_stationary = true;
      return result;
    }
    const double unit_length = std::sqrt(unit.a.dot(unit.cosines));
    const double length = lengths->dot(unit.cosines) / unit_length;
    for (Eigen::Index i = 0; i < count; ++i) {
      result.coefficients[rows[i]] =
          length * unit.a[i] / (norms[i] * unit_length);
    }
    // A negative length (least squares with unequal weights) turns the
    // direction round: the formula read literally.
    result.length = std::abs(length);
    result.conflict_free =
        unit.consistent && length > 0 && unit.cosines.minCoeff() > 0;
    return result;
  }

 private:
  const ConFIGOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeConFIG(
    const ConFIGOptions& options, int num_vectors) {
  if (const auto* given = std::get_if<GivenWeightOptions>(&options.weight)) {
    const absl::Status status =
        ValidateWeights(given->weights, num_vectors, kWeightsField);
    if (!status.ok()) return status;
  }
  const absl::Status status =
      ValidateLength(options.length, num_vectors, kTrackedField);
  if (!status.ok()) return status;
  return std::make_unique<ConFIG>(options);
}

}  // namespace concord
