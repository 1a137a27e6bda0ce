#include "operators/combine/upgrad.h"

#include <utility>

#include "operators/combine/dual_cone.h"
#include "operators/combine/gram.h"
#include "operators/combine/quadratic_program.h"
#include "operators/combine/weight.h"

namespace concord {
namespace {

constexpr char kPreferenceField[] = "combiner.upgrad.preference";

class UPGrad : public Combiner {
 public:
  explicit UPGrad(UPGradOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kUPGradName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<Eigen::VectorXd> preference =
        PickPreference(options_.preference, input, kPreferenceField);
    if (!preference.ok()) return preference.status();
    const Eigen::MatrixXd gram = Regularised(input.gram, options_.reg_eps);
    const Eigen::Index m = gram.rows();
    Eigen::VectorXd coefficients = Eigen::VectorXd::Zero(m);
    for (Eigen::Index i = 0; i < m; ++i) {
      coefficients += MinimizeAboveBounds(
          gram, (*preference)[i] * Eigen::VectorXd::Unit(m, i));
    }
    return DescribeOrVanish(input.gram, coefficients);
  }

 private:
  const UPGradOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeUPGrad(
    const UPGradOptions& options, int num_vectors) {
  absl::Status status =
      ValidatePreference(options.preference, num_vectors, kPreferenceField);
  status.Update(
      ValidateRegularisation(options.reg_eps, "combiner.upgrad.reg_eps"));
  if (!status.ok()) return status;
  return std::make_unique<UPGrad>(options);
}

}  // namespace concord
