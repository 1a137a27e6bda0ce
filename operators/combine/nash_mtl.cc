#include "operators/combine/nash_mtl.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/combine/fair_equations.h"
#include "operators/combine/gram.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {
namespace {

class NashMTL : public Combiner {
 public:
  NashMTL(const NashMTLOptions& options, int num_vectors)
      : options_(options), num_vectors_(num_vectors) {}

  std::string name() const override { return kNashMTLName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const bool scheduled = options_.update_every > 1;
    const size_t size = NumVectors(input, num_vectors_);
    absl::StatusOr<std::vector<double>> state =
        StateOrZeros(input, scheduled ? 1 + size : 0);
    if (!state.ok()) return state.status();

    Eigen::VectorXd weights = Eigen::VectorXd::Zero(input.gram.rows());
    uint64_t step = 0;
    if (scheduled) {
      step = ToStep((*state)[0]);
      for (Eigen::Index i = 0; i < weights.size(); ++i) {
        weights[i] = (*state)[1 + IndexOf(input, i)];
      }
    }
    const std::vector<Eigen::Index> rows = NonZeroRows(input.gram);
    const bool due = step % options_.update_every == 0;
    bool stationary = false;
    if (due || (weights(rows).array() <= 0).any()) {
      weights.setZero();
      if (!rows.empty()) {
        const absl::optional<Eigen::VectorXd> solved =
            SolveFairEquations(input.gram(rows, rows), /*p=*/1);
        stationary = !solved.has_value();
        if (solved.has_value()) weights(rows) = *solved;
      }
    }
    Combination result = Clipped(input.gram, weights);
    if (stationary) result.pareto_stationary = true;
    if (scheduled) {
      (*state)[0] = static_cast<double>(step) + 1;
      for (Eigen::Index i = 0; i < weights.size(); ++i) {
        (*state)[1 + IndexOf(input, i)] = weights[i];
      }
      result.state = *std::move(state);
    }
    return result;
  }

 private:
  Combination Clipped(const Eigen::MatrixXd& gram,
                      const Eigen::VectorXd& weights) const {
    Combination result = Describe(gram, weights);
    if (options_.max_norm > 0 && result.length > options_.max_norm) {
      const double factor = options_.max_norm / result.length;
      for (double& coefficient : result.coefficients) coefficient *= factor;
      result.length = options_.max_norm;
    }
    return result;
  }

  const NashMTLOptions options_;
  const int num_vectors_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeNashMTL(
    const NashMTLOptions& options, int num_vectors) {
  if (!(std::isfinite(options.max_norm) && options.max_norm >= 0)) {
    return InvalidField("INVALID_OPTION", "combiner.nash_mtl.max_norm",
                        absl::StrCat(options.max_norm), "a finite number >= 0");
  }
  if (options.update_every < 1) {
    return InvalidField("INVALID_OPTION", "combiner.nash_mtl.update_every",
                        absl::StrCat(options.update_every), "at least 1");
  }
  return std::make_unique<NashMTL>(options, num_vectors);
}

}  // namespace concord
