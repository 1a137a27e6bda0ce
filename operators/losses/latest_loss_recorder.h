// Keeps the latest value of every loss.
#ifndef CONCORD_OPERATORS_LOSSES_LATEST_LOSS_RECORDER_H_
#define CONCORD_OPERATORS_LOSSES_LATEST_LOSS_RECORDER_H_

#include <memory>

#include "operators/losses/loss_recorder.h"

namespace concord {

inline constexpr char kLatestLossRecorderName[] = "LatestLossRecorder";

std::unique_ptr<LossRecorder> MakeLatestLossRecorder(
    const LatestLossRecorderOptions& options, int num_losses);

}  // namespace concord

#endif  // CONCORD_OPERATORS_LOSSES_LATEST_LOSS_RECORDER_H_
