#include "operators/losses/momentum_loss_recorder.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr double kDefaultBeta = 0.9;

class MomentumLossRecorder : public LossRecorder {
 public:
  explicit MomentumLossRecorder(std::vector<double> betas)
      : betas_(std::move(betas)),
        averages_(betas_.size(), 0.0),
        counts_(betas_.size(), 0.0),
        losses_(betas_.size(), 0.0),
        seen_(betas_.size(), false) {}

  std::string name() const override { return kMomentumLossRecorderName; }

  std::unique_ptr<LossRecorder> Clone() const override {
    return std::make_unique<MomentumLossRecorder>(*this);
  }

  absl::Status Record(absl::Span<const int> indexes,
                      absl::Span<const double> losses) override {
    const absl::Status status =
        ValidateLosses(indexes, losses, static_cast<int>(betas_.size()));
    if (!status.ok()) return status;
    for (size_t i = 0; i < indexes.size(); ++i) {
      const int index = indexes[i];
      averages_[index] =
          betas_[index] * averages_[index] + (1 - betas_[index]) * losses[i];
      ++counts_[index];
      Evaluate(index);
    }
    return absl::OkStatus();
  }

  const std::vector<double>& losses() const override { return losses_; }
  const std::vector<bool>& seen() const override { return seen_; }

  std::vector<double> State() const override {
    std::vector<double> state = averages_;
    state.insert(state.end(), counts_.begin(), counts_.end());
    return state;
  }

  absl::Status Restore(absl::Span<const double> state) override {
    const size_t count = betas_.size();
    if (state.size() != 2 * count) {
      return InvalidField("INVALID_OPTION", "recorder",
                          absl::StrCat(state.size(), " numbers"),
                          absl::StrCat(2 * count));
    }
    for (size_t i = 0; i < count; ++i) {
      averages_[i] = state[i];
      counts_[i] = state[count + i];
      Evaluate(i);
    }
    return absl::OkStatus();
  }

 private:
  void Evaluate(size_t i) {
    seen_[i] = counts_[i] > 0;
    losses_[i] =
        seen_[i] ? averages_[i] / (1 - std::pow(betas_[i], counts_[i])) : 0;
  }

  const std::vector<double> betas_;
  std::vector<double> averages_;
  std::vector<double> counts_;
  std::vector<double> losses_;
  std::vector<bool> seen_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LossRecorder>> MakeMomentumLossRecorder(
    const MomentumLossRecorderOptions& options, int num_losses) {
  constexpr char kField[] = "loss_recorder.momentum.betas";
  const size_t count = options.betas.size();
  if (count > 1 && count != static_cast<size_t>(num_losses)) {
    return InvalidField("INVALID_OPTION", kField,
                        absl::StrCat(count, " numbers"),
                        absl::StrCat("one for all losses, or ", num_losses));
  }
  for (size_t i = 0; i < count; ++i) {
    // The negation also refuses NaN.
    if (!(options.betas[i] >= 0 && options.betas[i] < 1)) {
      return InvalidField("INVALID_OPTION", absl::StrCat(kField, "[", i, "]"),
                          absl::StrCat(options.betas[i]), "[0, 1)");
    }
  }
  std::vector<double> betas = options.betas;
  if (count <= 1) {
    betas.assign(num_losses, count == 0 ? kDefaultBeta : options.betas[0]);
  }
  return std::make_unique<MomentumLossRecorder>(std::move(betas));
}

}  // namespace concord
