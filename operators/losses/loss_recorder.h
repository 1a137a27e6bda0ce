// Loss recorders: what a loss's value is taken to be at a step.
//
// A recorder is small state of fixed size. It is copied, changed and swapped in
// at a commit; nothing here locks.
#ifndef CONCORD_OPERATORS_LOSSES_LOSS_RECORDER_H_
#define CONCORD_OPERATORS_LOSSES_LOSS_RECORDER_H_

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace concord {

struct LatestLossRecorderOptions {
  bool operator==(const LatestLossRecorderOptions&) const = default;
};
struct MomentumLossRecorderOptions {
  // In [0, 1), one per loss or one for all; empty: 0.9.
  std::vector<double> betas;
  bool operator==(const MomentumLossRecorderOptions&) const = default;
};
using LossRecorderOptions =
    std::variant<LatestLossRecorderOptions, MomentumLossRecorderOptions>;

class LossRecorder {
 public:
  virtual ~LossRecorder() = default;
  virtual std::string name() const = 0;
  virtual std::unique_ptr<LossRecorder> Clone() const = 0;

  // Records losses[i] for loss indexes[i]. INVALID_ARGUMENT for an index out of
  // range, a duplicate, unequal lengths or a value that is not finite; then
  // nothing is recorded.
  virtual absl::Status Record(absl::Span<const int> indexes,
                              absl::Span<const double> losses) = 0;

  // One value per loss; 0 for losses not seen.
  virtual const std::vector<double>& losses() const = 0;
  virtual const std::vector<bool>& seen() const = 0;

  // Small state as numbers, for checkpoints; Restore takes what State gave.
  virtual std::vector<double> State() const = 0;
  virtual absl::Status Restore(absl::Span<const double> state) = 0;
};

// INVALID_ARGUMENT unless `indexes` are distinct, in [0, num_losses), and there
// is one finite value for each.
absl::Status ValidateLosses(absl::Span<const int> indexes,
                            absl::Span<const double> losses, int num_losses);

// INVALID_ARGUMENT (INVALID_OPTION) names the option that is out of range
// ("loss_recorder.momentum.betas[1]").
absl::StatusOr<std::unique_ptr<LossRecorder>> MakeLossRecorder(
    const LossRecorderOptions& options, int num_losses);

std::vector<std::string> LossRecorderNames();

}  // namespace concord

#endif  // CONCORD_OPERATORS_LOSSES_LOSS_RECORDER_H_
