#include "operators/combine/cr_mogm.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "operators/combine/combiner.h"
#include "operators/combine/gram.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {
namespace {

// How often `options` wraps; counts no further than is refused.
int Wrappings(const CRMOGMOptions& options) {
  int count = 1;
  const CRMOGMOptions* outer = &options;
  while (count <= kMostWrappings && outer->combiner != nullptr) {
    outer = std::get_if<CRMOGMOptions>(&outer->combiner->options);
    if (outer == nullptr) break;
    ++count;
  }
  return count;
}

// Errors of the wrapped method name its fields as if it stood alone.
absl::Status Inside(const absl::Status& status) {
  absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value() || !absl::StartsWith(detail->field, "combiner.")) {
    return status;
  }
  detail->field = absl::StrCat("combiner.cr_mogm.", detail->field);
  return MakeError(status.code(), *std::move(detail));
}

class CRMOGM : public Combiner {
 public:
  CRMOGM(CRMOGMOptions options, int num_vectors,
         std::unique_ptr<Combiner> wrapped)
      : options_(std::move(options)),
        num_vectors_(num_vectors),
        wrapped_(std::move(wrapped)) {}

  std::string name() const override { return kCRMOGMName; }
  bool needs_losses() const override { return wrapped_->needs_losses(); }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const size_t size = NumVectors(input, num_vectors_);
    if (!input.state.empty() && input.state.size() < 2 * size) {
      return InvalidField("INVALID_OPTION", "state",
                          absl::StrCat(input.state.size(), " numbers"),
                          absl::StrCat("at least ", 2 * size, ", or none"));
    }
    CombineInput own = input;
    CombineInput inner = input;
    if (!input.state.empty()) {
      own.state = input.state.subspan(0, 2 * size);
      inner.state = input.state.subspan(2 * size);
    }
    absl::StatusOr<std::vector<double>> state = StateOrZeros(own, 2 * size);
    if (!state.ok()) return state.status();
    absl::StatusOr<Combination> found = wrapped_->Solve(inner);
    if (!found.ok()) return Inside(found.status());

    double* const lambda = state->data();
    double* const known = lambda + size;
    Eigen::VectorXd smoothed(input.gram.rows());
    for (Eigen::Index i = 0; i < smoothed.size(); ++i) {
      const size_t index = IndexOf(input, i);
      const double newest = found->coefficients[i];
      double before = newest;
      if (known[index] != 0) {
        before = lambda[index];
      } else if (index < options_.initial_weights.size()) {
        before = options_.initial_weights[index];
      }
      smoothed[i] = options_.alpha * before + (1 - options_.alpha) * newest;
      lambda[index] = smoothed[i];
      known[index] = 1;
    }
    Combination result = Describe(input.gram, smoothed);
    result.state = *std::move(state);
    result.state.insert(result.state.end(), found->state.begin(),
                        found->state.end());
    return result;
  }

 private:
  const CRMOGMOptions options_;
  const int num_vectors_;
  const std::unique_ptr<Combiner> wrapped_;
};

}  // namespace

bool CRMOGMOptions::operator==(const CRMOGMOptions& other) const {
  const bool same_method = combiner == other.combiner ||
                           (combiner != nullptr && other.combiner != nullptr &&
                            *combiner == *other.combiner);
  return same_method && alpha == other.alpha &&
         initial_weights == other.initial_weights;
}

absl::StatusOr<std::unique_ptr<Combiner>> MakeCRMOGM(
    const CRMOGMOptions& options, int num_vectors) {
  // The negation also refuses NaN.
  if (!(options.alpha >= 0 && options.alpha <= 1)) {
    return InvalidField("INVALID_OPTION", "combiner.cr_mogm.alpha",
                        absl::StrCat(options.alpha), "in [0, 1]");
  }
  constexpr char kInitial[] = "combiner.cr_mogm.initial_weights";
  const size_t count = options.initial_weights.size();
  if (num_vectors > 0 && count > 0 &&
      count != static_cast<size_t>(num_vectors)) {
    return InvalidField("INVALID_OPTION", kInitial,
                        absl::StrCat(count, " numbers"),
                        absl::StrCat("none, or ", num_vectors));
  }
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(options.initial_weights[i])) {
      return InvalidField("INVALID_OPTION", absl::StrCat(kInitial, "[", i, "]"),
                          absl::StrCat(options.initial_weights[i]),
                          "a finite number");
    }
  }
  if (Wrappings(options) > kMostWrappings) {
    return InvalidField("INVALID_OPTION", "combiner.cr_mogm.combiner",
                        "a wrapper in a wrapper, again and again",
                        absl::StrCat("at most ", kMostWrappings, " wrappers"));
  }
  absl::StatusOr<std::unique_ptr<Combiner>> wrapped =
      MakeCombiner(options.combiner == nullptr ? CombinerOptions()
                                               : options.combiner->options,
                   num_vectors);
  if (!wrapped.ok()) return Inside(wrapped.status());
  if ((*wrapped)->works_on_columns()) {
    return InvalidField("INVALID_OPTION", "combiner.cr_mogm.combiner",
                        (*wrapped)->name(),
                        "a method with coefficients, not one on columns");
  }
  return std::make_unique<CRMOGM>(options, num_vectors, *std::move(wrapped));
}

}  // namespace concord
