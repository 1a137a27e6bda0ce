#include "operators/combine/random.h"

#include "operators/combine/counter_random.h"
#include "operators/combine/gram.h"
#include "operators/combine/state.h"

namespace concord {
namespace {

class Random : public Combiner {
 public:
  explicit Random(const RandomOptions& options) : options_(options) {}

  std::string name() const override { return kRandomName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<std::vector<double>> state = StateOrZeros(input, 1);
    if (!state.ok()) return state.status();
    const RandomKey key = {options_.seed, ToStep((*state)[0]), 0};
    Eigen::VectorXd weights(input.gram.rows());
    for (Eigen::Index i = 0; i < weights.size(); ++i) {
      weights[i] = NormalAt(key, IndexOf(input, i));
    }
    // Normal numbers of 52 bits are below 9: exp cannot overflow.
    weights = weights.array().exp();
    Combination result = Describe(input.gram, weights / weights.sum());
    result.state = {static_cast<double>(key.step) + 1};
    return result;
  }

 private:
  const RandomOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeRandom(
    const RandomOptions& options, int /*num_vectors*/) {
  return std::make_unique<Random>(options);
}

}  // namespace concord
