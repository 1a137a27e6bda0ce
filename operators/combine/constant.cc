#include "operators/combine/constant.h"

#include <utility>

#include "operators/combine/gram.h"
#include "operators/combine/weight.h"

namespace concord {
namespace {

constexpr char kField[] = "combiner.constant.weights";

class Constant : public Combiner {
 public:
  explicit Constant(ConstantOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kConstantName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<Eigen::VectorXd> weights =
        PickWeights(options_.weights, input, kField);
    if (!weights.ok()) return weights.status();
    return Describe(input.gram, *weights);
  }

 private:
  const ConstantOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeConstant(
    const ConstantOptions& options, int num_vectors) {
  const absl::Status status =
      ValidateWeights(options.weights, num_vectors, kField);
  if (!status.ok()) return status;
  return std::make_unique<Constant>(options);
}

}  // namespace concord
