#include "operators/combine/dualproj.h"

#include <utility>

#include "operators/combine/dual_cone.h"
#include "operators/combine/gram.h"
#include "operators/combine/quadratic_program.h"
#include "operators/combine/weight.h"

namespace concord {
namespace {

constexpr char kPreferenceField[] = "combiner.dualproj.preference";

class DualProj : public Combiner {
 public:
  explicit DualProj(DualProjOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kDualProjName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<Eigen::VectorXd> preference =
        PickPreference(options_.preference, input, kPreferenceField);
    if (!preference.ok()) return preference.status();
    const Eigen::MatrixXd gram = Regularised(input.gram, options_.reg_eps);
    return DescribeOrVanish(input.gram, MinimizeAboveBounds(gram, *preference));
  }

 private:
  const DualProjOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeDualProj(
    const DualProjOptions& options, int num_vectors) {
  absl::Status status =
      ValidatePreference(options.preference, num_vectors, kPreferenceField);
  status.Update(
      ValidateRegularisation(options.reg_eps, "combiner.dualproj.reg_eps"));
  if (!status.ok()) return status;
  return std::make_unique<DualProj>(options);
}

}  // namespace concord
