#include "operators/combine/random.h"

#include "operators/combine/gram.h"
#include "operators/combine/state.h"
#include "operators/combine/weight.h"

namespace concord {
namespace {

class Random : public Combiner {
 public:
  explicit Random(const RandomOptions& options) : options_(options) {}

  std::string name() const override { return kRandomName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<std::vector<double>> state = StateOrZeros(input, 1);
    if (!state.ok()) return state.status();
    const uint64_t step = ToStep((*state)[0]);
    Combination result =
        Describe(input.gram, RandomWeights(input, options_.seed, step));
    result.state = {static_cast<double>(step) + 1};
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
