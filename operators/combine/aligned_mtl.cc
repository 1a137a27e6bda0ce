#include "operators/combine/aligned_mtl.h"

#include <utility>

#include "operators/combine/gram.h"
#include "operators/combine/jacobi_eigen.h"
#include "operators/combine/weight.h"

namespace concord {
namespace {

constexpr char kPreferenceField[] = "combiner.aligned_mtl.preference";

class AlignedMTL : public Combiner {
 public:
  explicit AlignedMTL(AlignedMTLOptions options)
      : options_(std::move(options)) {}

  std::string name() const override { return kAlignedMTLName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<Eigen::VectorXd> preference =
        PickPreference(options_.preference, input, kPreferenceField);
    if (!preference.ok()) return preference.status();

    const SymmetricEigen eigen = DecomposeByRotations(input.gram);
    const double cutoff = kRankCutoff * eigen.values.maxCoeff();
    const Eigen::Index rank =
        cutoff > 0 ? (eigen.values.array() > cutoff).count() : 0;
    if (rank == 0) return ZeroDirection(input.gram, /*stationary=*/false);
    const Eigen::VectorXd values = eigen.values.tail(rank);
    const auto range = eigen.vectors.rightCols(rank);
    const Eigen::VectorXd parts = range.transpose() * *preference;
    Combination result;
    if (parts.norm() <= kStationaryCutoff * preference->norm()) {
      result = ZeroDirection(input.gram, /*stationary=*/true);
    } else {
      const Eigen::VectorXd balanced =
          (ScaleOf(values) / values.array()).sqrt() * parts.array();
      result = Describe(input.gram, range * balanced);
    }
    result.rank = static_cast<int>(rank);
    return result;
  }

 private:
  // `values` ascend.
  double ScaleOf(const Eigen::VectorXd& values) const {
    switch (options_.scale) {
      case AlignedScale::kMedian:
        return values[(values.size() - 1) / 2];
      case AlignedScale::kRootMeanSquare:
        return values.mean();
      case AlignedScale::kMinimum:
        break;
    }
    return values[0];
  }

  const AlignedMTLOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeAlignedMTL(
    const AlignedMTLOptions& options, int num_vectors) {
  const absl::Status status =
      ValidatePreference(options.preference, num_vectors, kPreferenceField);
  if (!status.ok()) return status;
  return std::make_unique<AlignedMTL>(options);
}

}  // namespace concord
