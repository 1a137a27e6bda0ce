#include "operators/combine/graddrop.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr char kField[] = "combiner.graddrop.leak";

class GradDrop : public Combiner {
 public:
  explicit GradDrop(GradDropOptions options) : options_(std::move(options)) {}

  std::string name() const override { return kGradDropName; }
  bool works_on_columns() const override { return true; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const absl::StatusOr<std::vector<double>> state = StateOrZeros(input, 1);
    if (!state.ok()) return state.status();
    const Eigen::Index m = input.gram.rows();
    SignDropRule rule;
    rule.seed = options_.seed;
    rule.step = ToStep((*state)[0]);
    for (Eigen::Index i = 0; i < m; ++i) {
      const size_t index = IndexOf(input, i);
      if (!options_.leak.empty() && index >= options_.leak.size()) {
        return InvalidField(
            "INVALID_OPTION", kField,
            absl::StrCat(options_.leak.size(), " numbers"),
            absl::StrCat("one per vector; vector ", index, " has none"));
      }
      rule.leak.push_back(options_.leak.empty() ? 0 : options_.leak[index]);
    }
    Combination result;
    result.coefficients.assign(m, 0.0);
    result.state = {static_cast<double>(rule.step) + 1};
    result.columns = std::move(rule);
    return result;
  }

 private:
  const GradDropOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeGradDrop(
    const GradDropOptions& options, int num_vectors) {
  const size_t count = options.leak.size();
  if (num_vectors > 0 && count > 0 &&
      count != static_cast<size_t>(num_vectors)) {
    return InvalidField("INVALID_OPTION", kField,
                        absl::StrCat(count, " numbers"),
                        absl::StrCat("none, or ", num_vectors));
  }
  for (size_t i = 0; i < count; ++i) {
    // The negation also refuses NaN.
    if (!(options.leak[i] >= 0 && options.leak[i] <= 1)) {
      return InvalidField("INVALID_OPTION", absl::StrCat(kField, "[", i, "]"),
                          absl::StrCat(options.leak[i]), "in [0, 1]");
    }
  }
  return std::make_unique<GradDrop>(options);
}

}  // namespace concord
