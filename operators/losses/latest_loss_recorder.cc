#include "operators/losses/latest_loss_recorder.h"

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

class LatestLossRecorder : public LossRecorder {
 public:
  explicit LatestLossRecorder(int num_losses)
      : losses_(num_losses, 0.0), seen_(num_losses, false) {}

  std::string name() const override { return kLatestLossRecorderName; }

  std::unique_ptr<LossRecorder> Clone() const override {
    return std::make_unique<LatestLossRecorder>(*this);
  }

  absl::Status Record(absl::Span<const int> indexes,
                      absl::Span<const double> losses) override {
    absl::Status status =
        ValidateLosses(indexes, losses, static_cast<int>(losses_.size()));
    if (!status.ok()) return status;
    for (size_t i = 0; i < indexes.size(); ++i) {
      losses_[indexes[i]] = losses[i];
      seen_[indexes[i]] = true;
    }
    return absl::OkStatus();
  }

  const std::vector<double>& losses() const override { return losses_; }
  const std::vector<bool>& seen() const override { return seen_; }

  std::vector<double> State() const override {
    std::vector<double> state = losses_;
    for (const bool seen : seen_) state.push_back(seen ? 1 : 0);
    return state;
  }

  absl::Status Restore(absl::Span<const double> state) override {
    const size_t count = losses_.size();
    if (state.size() != 2 * count) {
      return InvalidField("INVALID_OPTION", "recorder",
                          absl::StrCat(state.size(), " numbers"),
                          absl::StrCat(2 * count));
    }
    for (size_t i = 0; i < count; ++i) {
      losses_[i] = state[i];
      seen_[i] = state[count + i] != 0;
    }
    return absl::OkStatus();
  }

 private:
  std::vector<double> losses_;
  std::vector<bool> seen_;
};

}  // namespace

std::unique_ptr<LossRecorder> MakeLatestLossRecorder(
    const LatestLossRecorderOptions& /*options*/, int num_losses) {
  return std::make_unique<LatestLossRecorder>(num_losses);
}

}  // namespace concord
