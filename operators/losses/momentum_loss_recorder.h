// Keeps a moving average of every loss, corrected for its start at zero:
//   a_i <- beta_i a_i + (1 - beta_i) L_i       value_i = a_i / (1 - beta_i^t_i)
// where t_i counts the values of loss i.
#ifndef CONCORD_OPERATORS_LOSSES_MOMENTUM_LOSS_RECORDER_H_
#define CONCORD_OPERATORS_LOSSES_MOMENTUM_LOSS_RECORDER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/losses/loss_recorder.h"

namespace concord {

inline constexpr char kMomentumLossRecorderName[] = "MomentumLossRecorder";

absl::StatusOr<std::unique_ptr<LossRecorder>> MakeMomentumLossRecorder(
    const MomentumLossRecorderOptions& options, int num_losses);

}  // namespace concord

#endif  // CONCORD_OPERATORS_LOSSES_MOMENTUM_LOSS_RECORDER_H_
