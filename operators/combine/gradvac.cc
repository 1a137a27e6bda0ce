#include "operators/combine/gradvac.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/combine/gram.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr double kLargestTarget = 0.999;
constexpr double kVanished = 1e-12;  // Of the square of a row's length.

class GradVac : public Combiner {
 public:
  GradVac(GradVacOptions options, int num_vectors)
      : options_(std::move(options)), num_vectors_(num_vectors) {}

  std::string name() const override { return kGradVacName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const size_t size = NumVectors(input, num_vectors_);
    absl::StatusOr<std::vector<double>> state =
        StateOrZeros(input, 1 + size * size);
    if (!state.ok()) return state.status();
    const uint64_t step = ToStep((*state)[0]);

    const Eigen::Index m = input.gram.rows();
    Eigen::VectorXd coefficients = Eigen::VectorXd::Zero(m);
    for (Eigen::Index i = 0; i < m; ++i) {
      double* targets = state->data() + 1 + size * IndexOf(input, i);
      coefficients += Vaccinated(i, input, step, targets);
    }
    Combination result = DescribeOrVanish(input.gram, coefficients);
    (*state)[0] = static_cast<double>(step) + 1;
    result.state = *std::move(state);
    return result;
  }

 private:
  // The coefficients of row i, whose targets are moved.
  Eigen::VectorXd Vaccinated(Eigen::Index i, const CombineInput& input,
                             uint64_t step, double* targets) const {
    const Eigen::MatrixXd& gram = input.gram;
    Eigen::VectorXd row = Eigen::VectorXd::Unit(gram.rows(), i);
    Eigen::VectorXd products = gram.col(i);
    for (const int j : OthersOf(i, input, options_.order, step)) {
      const double square = row.dot(products);
      if (gram(j, j) <= 0 || square <= kVanished * gram(i, i)) continue;
      const double norm = std::sqrt(square);
      const double other = std::sqrt(gram(j, j));
      const double cosine = std::clamp(products[j] / norm / other, -1.0, 1.0);
      double& target = targets[IndexOf(input, j)];
      if (cosine < target) {
        const double sine = std::sqrt(1 - cosine * cosine);
        const double target_sine = std::sqrt(1 - target * target);
        const double part = norm * (target * sine - cosine * target_sine) /
                            (other * target_sine);
        row[j] += part;
        products += part * gram.col(j);
      }
      target = std::clamp((1 - options_.beta) * target + options_.beta * cosine,
                          -kLargestTarget, kLargestTarget);
    }
    return row;
  }

  const GradVacOptions options_;
  const int num_vectors_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeGradVac(
    const GradVacOptions& options, int num_vectors) {
  if (!(options.beta >= 0 && options.beta <= 1)) {
    return InvalidField("INVALID_OPTION", "combiner.gradvac.beta",
                        absl::StrCat(options.beta), "a number in [0, 1]");
  }
  const absl::Status status =
      ValidateOrder(options.order, num_vectors, "combiner.gradvac.order");
  if (!status.ok()) return status;
  return std::make_unique<GradVac>(options, num_vectors);
}

}  // namespace concord
