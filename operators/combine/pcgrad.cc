#include "operators/combine/pcgrad.h"

#include <utility>

#include "operators/combine/gram.h"
#include "operators/combine/state.h"

namespace concord {
namespace {

class PCGrad : public Combiner {
 public:
  explicit PCGrad(PCGradOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kPCGradName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const bool seeded = std::holds_alternative<SeededOrder>(options_.order);
    const absl::StatusOr<std::vector<double>> state =
        StateOrZeros(input, seeded ? 1 : 0);
    if (!state.ok()) return state.status();
    const uint64_t step = seeded ? ToStep((*state)[0]) : 0;

    const Eigen::MatrixXd& gram = input.gram;
    const Eigen::Index m = gram.rows();
    Eigen::VectorXd coefficients = Eigen::VectorXd::Zero(m);
    for (Eigen::Index i = 0; i < m; ++i) {
      coefficients[i] += 1;
      Eigen::VectorXd products = gram.col(i);
      for (const int j : OthersOf(i, input, options_.order, step)) {
        if (!(products[j] < 0) || gram(j, j) <= 0) continue;
        const double part = -products[j] / gram(j, j);
        coefficients[j] += part;
        products += part * gram.col(j);
      }
    }
    Combination result = DescribeOrVanish(gram, coefficients);
    if (seeded) result.state = {static_cast<double>(step) + 1};
    return result;
  }

 private:
  const PCGradOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakePCGrad(
    const PCGradOptions& options, int num_vectors) {
  const absl::Status status =
      ValidateOrder(options.order, num_vectors, "combiner.pcgrad.order");
  if (!status.ok()) return status;
  return std::make_unique<PCGrad>(options);
}

}  // namespace concord
