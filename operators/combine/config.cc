#include "operators/combine/config.h"

#include <cmath>
#include <utility>

#include "operators/combine/gram.h"
#include "operators/combine/symmetric_eigen.h"

namespace concord {
namespace {

constexpr char kWeightField[] = "combiner.config.weight";
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
  ConFIG(ConFIGOptions options, int num_vectors)
      : options_(std::move(options)), num_vectors_(num_vectors) {}

  std::string name() const override { return kConFIGName; }
  bool needs_losses() const override {
    return std::holds_alternative<DynamicWeightAverageOptions>(options_.weight);
  }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::Index m = input.gram.rows();
    Combination result;
    result.coefficients.assign(m, 0.0);
    absl::StatusOr<Weights> weights =
        WeightsOf(options_.weight, input, num_vectors_, kWeightField);
    if (!weights.ok()) return weights.status();
    result.state = std::move(weights->state);

    const std::vector<Eigen::Index> rows = NonZeroRows(input.gram);
    const Eigen::Index count = static_cast<Eigen::Index>(rows.size());
    if (count == 0) return result;

    const Eigen::MatrixXd gram = input.gram(rows, rows);
    const Eigen::VectorXd norms = gram.diagonal().cwiseSqrt();
    const Eigen::MatrixXd cosines = Cosines(gram);
    const absl::StatusOr<Eigen::VectorXd> lengths =
        TrackedLengths(options_.length, input, norms, kTrackedField);
    if (!lengths.ok()) return lengths.status();

    const bool equal =
        std::holds_alternative<EqualWeightOptions>(options_.weight);
    const UnitSolution unit = equal && count == 2
                                  ? SolvePair(cosines(0, 1))
                                  : SolveEigen(cosines, weights->values(rows));
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
  const int num_vectors_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeConFIG(
    const ConFIGOptions& options, int num_vectors) {
  absl::Status status =
      ValidateWeightModel(options.weight, num_vectors, kWeightField);
  if (!status.ok()) return status;
  status = ValidateLength(options.length, num_vectors, kTrackedField);
  if (!status.ok()) return status;
  return std::make_unique<ConFIG>(options, num_vectors);
}

}  // namespace concord
