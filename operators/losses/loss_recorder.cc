#include "operators/losses/loss_recorder.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/losses/latest_loss_recorder.h"
#include "operators/losses/momentum_loss_recorder.h"

namespace concord {

absl::Status ValidateLosses(absl::Span<const int> indexes,
                            absl::Span<const double> losses, int num_losses) {
  if (indexes.size() != losses.size()) {
    return InvalidField("LENGTH_MISMATCH", "losses",
                        absl::StrCat(losses.size(), " values"),
                        absl::StrCat(indexes.size(), ", one per index"));
  }
  std::vector<bool> taken(num_losses, false);
  for (size_t i = 0; i < indexes.size(); ++i) {
    const int index = indexes[i];
    if (index < 0 || index >= num_losses) {
      return InvalidField(
          "INDEX_OUT_OF_RANGE", absl::StrCat("losses[", i, "].index"),
          absl::StrCat(index), absl::StrCat("0 … ", num_losses - 1));
    }
    if (taken[index]) {
      return InvalidField("DUPLICATE_INDEX",
                          absl::StrCat("losses[", i, "].index"),
                          absl::StrCat(index), "every loss at most once");
    }
    taken[index] = true;
    if (!std::isfinite(losses[i])) {
      return InvalidField("NON_FINITE", absl::StrCat("losses[", i, "].value"),
                          absl::StrCat(losses[i]), "a finite number");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LossRecorder>> MakeLossRecorder(
    const LossRecorderOptions& options, int num_losses) {
  if (num_losses < 1) {
    return InvalidField("INVALID_OPTION", "num_losses",
                        absl::StrCat(num_losses), ">= 1");
  }
  if (const auto* momentum =
          std::get_if<MomentumLossRecorderOptions>(&options)) {
    return MakeMomentumLossRecorder(*momentum, num_losses);
  }
  return MakeLatestLossRecorder(std::get<LatestLossRecorderOptions>(options),
                                num_losses);
}

std::vector<std::string> LossRecorderNames() {
  return {kLatestLossRecorderName, kMomentumLossRecorderName};
}

}  // namespace concord
