#include "operators/combine/fairgrad.h"

#include "absl/strings/str_cat.h"
#include "operators/combine/fair_equations.h"
#include "operators/combine/gram.h"
#include "operators/errors.h"

namespace concord {
namespace {

class FairGrad : public Combiner {
 public:
  explicit FairGrad(const FairGradOptions& options) : options_(options) {}

  std::string name() const override { return kFairGradName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::MatrixXd& gram = input.gram;
    const Eigen::Index m = gram.rows();
    if (options_.alpha == 0) {
      return Describe(gram, Eigen::VectorXd::Constant(m, 1.0 / m));
    }
    const std::vector<Eigen::Index> rows = NonZeroRows(gram);
    if (rows.empty()) return ZeroDirection(gram, /*stationary=*/false);
    const absl::optional<Eigen::VectorXd> weights =
        SolveFairEquations(gram(rows, rows), 1 / options_.alpha);
    if (!weights.has_value()) return ZeroDirection(gram, /*stationary=*/true);
    return Describe(gram, Spread(*weights, rows, m));
  }

 private:
  const FairGradOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeFairGrad(
    const FairGradOptions& options, int /*num_vectors*/) {
  const double alpha = options.alpha;
  if (!(alpha == 0 || (alpha >= 0.05 && alpha <= 10))) {
    return InvalidField("INVALID_OPTION", "combiner.fairgrad.alpha",
                        absl::StrCat(alpha), "0, or a number in [0.05, 10]");
  }
  return std::make_unique<FairGrad>(options);
}

}  // namespace concord
