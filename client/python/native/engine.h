// The engine in a Python process: a MomentumOperator, whole steps at a time,
// and the memory of its results.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_ENGINE_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "Eigen/Core"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "client/python/native/result_pool.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/layout.h"
#include "operators/momentum/momentum_operator.h"

namespace concord::python {

// Threads: any; one step at a time. Holds no Python object and needs no GIL.
class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const OperatorOptions& options, std::shared_ptr<Kernels> kernels);

  // What a step may bring beside gradients.
  struct Extras {
    std::vector<int> loss_indexes;  // For the operator's recorder.
    std::vector<double> losses;
    std::vector<int> active;  // Losses that count; empty: all.
    bool update_cosines = false;
    // Not set: the options' own type.
    std::optional<HalfType> gradient_type = std::nullopt;
  };

  // One step: the gradients lie at `gradients` on the kernels' device, each
  // num_parameters elements. The update goes to `update`. On an error the
  // committed state is what it was.
  absl::Status Step(absl::Span<const int> indexes,
                    absl::Span<const void* const> gradients,
                    const Extras& extras, void* update);

  // The same with memory of the pool. Host accessible kernels only.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> Step(
      absl::Span<const int> indexes, absl::Span<const void* const> gradients,
      const Extras& extras);

  // An engine with the state of this one under another layout; `options` are
  // this one's but for num_parameters.
  absl::StatusOr<std::unique_ptr<Engine>> WithLayout(
      const OperatorOptions& options, const LayoutChange& change);

  // The same step in two phases, for an engine whose options are sharded: what
  // Ingest gives is summed over all parts and handed to Solve, then Commit. The
  // gradients' memory stays as it is until then. After an error of any of the
  // three, and after Reset, nothing is staged.
  absl::StatusOr<Eigen::MatrixXd> Ingest(
      absl::Span<const int> indexes, absl::Span<const void* const> gradients,
      std::optional<HalfType> gradient_type);
  absl::Status Solve(const Eigen::MatrixXd& products, const Extras& extras);
  absl::Status Commit(void* update);
  void Reset();

  // Of the committed state's numbers, not of its vectors: the same on all parts
  // of a sharded operator that have made the same steps.
  uint64_t NumbersChecksum();

  // Memory of the pool, for an update; its contents are anything.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> TakeBuffer() {
    return pool_->Take();
  }

  // Calls `look` with the operator, no step under way.
  void Look(const std::function<void(MomentumOperator&)>& look);

  // As at creation; Reconfigure changes the operator's own.
  const OperatorOptions& options() const { return options_; }

 private:
  Engine(OperatorOptions options, std::shared_ptr<Kernels> kernels,
         std::unique_ptr<MomentumOperator> momentum);

  const OperatorOptions options_;
  const std::shared_ptr<Kernels> kernels_;  // Outlives what it allocated.
  const std::shared_ptr<ResultPool> pool_;
  absl::Mutex mutex_;
  const std::unique_ptr<MomentumOperator> operator_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_ENGINE_H_
