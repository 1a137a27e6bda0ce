// Momentum operators: per-loss gradients in, one update out, in three phases.
//
//   ingest   while a gradient arrives, block by block, the loss's new momentum
//            is written beside the old one ("staged") and the block's dot
//            products with the other rows are taken;
//   solve    m x m algebra: coefficients and everything else that is small;
//   commit   one fused pass writes second momentum and update, then one switch
//            makes staged rows, Gram matrix, counters and recorder the state.
//
// Until Commit has returned OK the committed state is untouched: a step may be
// given up at any time with Reset().
//
// PseudoMomentumOperator (M-ConFIG; t_i counts updates of loss i, t live
// steps):
//   m_i <- b1 m_i + (1-b1) g_i        mhat_i = m_i / (1 - b1^t_i)
//   update = 0 until every loss has been seen; then
//   r = sum c_j mhat_j                f = r (1 - b1^t)
//   ghat = (f - b1 f_prev) / (1-b1)   s <- b2 s + (1-b2) ghat^2
//   update = r / (sqrt(s / (1 - b2^t)) + 1e-8)
// with c from the combiner on the Gram matrix of mhat. f_prev is a linear
// combination of the momenta before the step, so no vector is kept for it.
//
// "none": update = sum c_j g_j over the gradients of this step alone.
//
// Threads: rows that are staged may be appended to by one thread each, at the
// same time. Everything else needs the caller to exclude other calls, except
// that the const functions may run at the same time as each other.
//
// Memory: reserved at creation, MemoryBytes(options) on the kernels' device.
#ifndef CONCORD_OPERATORS_MOMENTUM_MOMENTUM_OPERATOR_H_
#define CONCORD_OPERATORS_MOMENTUM_MOMENTUM_OPERATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "Eigen/Core"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "operators/combine/combiner.h"
#include "operators/dtype.h"
#include "operators/kernels/kernels.h"
#include "operators/losses/loss_recorder.h"

namespace concord {

struct PseudoMomentumOptions {
  double beta_1 = 0.9;    // In [0, 1).
  double beta_2 = 0.999;  // In [0, 1).
  bool operator==(const PseudoMomentumOptions&) const = default;
};
struct NoMomentumOptions {
  bool operator==(const NoMomentumOptions&) const = default;
};
using MomentumOptions = std::variant<PseudoMomentumOptions, NoMomentumOptions>;

struct OperatorOptions {
  int num_vectors = 0;        // m >= 1.
  size_t num_parameters = 0;  // n >= 1.
  Dtype dtype = Dtype::kFloat32;
  // k, 1 … m: most losses in one step. 0: m.
  int max_vectors_per_step = 0;
  MomentumOptions momentum;
  CombinerOptions combiner;
  std::optional<LossRecorderOptions> loss_recorder;
  bool operator==(const OperatorOptions&) const = default;
};

// A step that is solved and not yet committed, or the last committed one.
struct StepSolution {
  bool warming_up = false;
  std::vector<int> indexes;  // The rows combined; all, or the step's (none).
  Combination combination;   // Coefficients of the rows (of mhat).
  Eigen::MatrixXd gram;      // Of the rows combined (of mhat).
  Eigen::MatrixXd cosines;
  std::vector<double> losses;  // Recorded ones; empty without a recorder.
  // <r, row> / (|r| |row|), 0 for a zero row. Filled by Solve.
  std::vector<double> direction_cosines;
  // <update, row> / (|update| |row|). Filled by Commit, when asked for.
  std::vector<double> update_cosines;
};

// Everything that a committed state consists of, in host memory.
struct OperatorState {
  std::vector<std::vector<std::byte>> momenta;  // m rows ("none": empty).
  std::vector<std::byte> second;                // Empty for "none".
  Eigen::MatrixXd gram;                         // Of the stored momenta, m x m.
  std::vector<int64_t> updates;                 // t_i.
  int64_t live_steps = 0;                       // t.
  int64_t committed_steps = 0;
  std::vector<double> coefficients;  // Of the stored momenta, last live step.
  std::vector<double> combiner;
  std::vector<double> recorder;
};

class MomentumOperator {
 public:
  // One loss's new row while it arrives; owned by the operator.
  class StagedRow {
   public:
    virtual ~StagedRow() = default;
    virtual int index() const = 0;
    virtual size_t bytes_received() const = 0;
  };

  virtual ~MomentumOperator() = default;

  // INVALID_ARGUMENT (INVALID_OPTION) names the option that is out of range;
  // RESOURCE_EXHAUSTED when the device has not the memory.
  static absl::StatusOr<std::unique_ptr<MomentumOperator>> Create(
      const OperatorOptions& options, std::shared_ptr<Kernels> kernels);

  // The checks of Create alone: options.momentum, combiner, sizes.
  static absl::Status Validate(const OperatorOptions& options);

  // Vectors' memory that Create reserves: m + k + 1 vectors of n elements with
  // momentum, k without, each rounded up to a cache line; the update's own
  // buffer is the caller's.
  static size_t MemoryBytes(const OperatorOptions& options);

  virtual const OperatorOptions& options() const = 0;

  // ---- ingest -------------------------------------------------------------

  // Opens the row of loss `index` for this step. INVALID_ARGUMENT:
  // INDEX_OUT_OF_RANGE, DUPLICATE_INDEX (staged already), TOO_MANY_VECTORS.
  virtual absl::StatusOr<StagedRow*> Stage(int index) = 0;

  // Gives up one staged row; its pointer is invalid afterwards.
  virtual void Drop(StagedRow* row) = 0;

  // The next bytes of the row's gradient, from host memory, any number (also
  // parts of an element). INVALID_ARGUMENT (CHUNK_TOO_LARGE) beyond the end.
  virtual absl::Status Append(StagedRow* row,
                              absl::Span<const std::byte> bytes) = 0;

  // To be called when all bytes are in. INVALID_ARGUMENT: LENGTH_MISMATCH, or
  // NON_FINITE naming the first element that is NaN or Inf; then Drop the row.
  virtual absl::Status Complete(StagedRow* row) = 0;

  // Whole vectors from memory of the kernels' device, used where they lie:
  // stages and completes a row for each. The pointers need to be valid until
  // this returns (with "none": until the step is committed or reset). On an
  // error no row of this call stays.
  virtual absl::Status Ingest(absl::Span<const int> indexes,
                              absl::Span<const void* const> gradients) = 0;

  // Gives up everything staged.
  virtual void Reset() = 0;

  // ---- solve and commit -----------------------------------------------------

  // Solves the step made of the completed rows. `loss_indexes` and `losses` are
  // recorded with it. INVALID_ARGUMENT: LOSSES_WITHOUT_RECORDER, NON_FINITE,
  // INDEX_OUT_OF_RANGE, DUPLICATE_INDEX, OUT_OF_SCALE; FAILED_PRECONDITION:
  // EMPTY_ROUND when no row is staged.
  virtual absl::Status Solve(absl::Span<const int> loss_indexes,
                             absl::Span<const double> losses) = 0;

  // The step solved last (null before the first Solve and after Reset).
  virtual const StepSolution* solution() const = 0;

  // Writes the solved step's update to `update` (n elements, device memory),
  // then makes the step the state. `progress(elements)` is called, on the
  // calling thread, whenever the update's first `elements` elements are final.
  // `with_update_cosines` fills solution()->update_cosines. An error is the
  // device's; the second momentum may then be half-written: `broken()`.
  virtual absl::Status Commit(void* update, bool with_update_cosines,
                              absl::FunctionRef<void(size_t)> progress) = 0;

  // After an error inside Commit: the operator refuses everything else.
  virtual bool broken() const = 0;

  // ---- committed state ------------------------------------------------------

  virtual int64_t committed_steps() const = 0;
  // The solution of the last committed step; null before the first.
  virtual const StepSolution* committed() const = 0;
  // Recorded losses and which were seen; null without a recorder.
  virtual const LossRecorder* recorder() const = 0;

  // Writes the committed update once more, the same bits. Not for "none" (its
  // owner keeps the update): UNIMPLEMENTED.
  virtual absl::Status Recompute(void* update) const = 0;

  virtual absl::StatusOr<OperatorState> Export() const = 0;
  // INVALID_ARGUMENT when sizes do not fit the options; then nothing changed.
  virtual absl::Status Import(const OperatorState& state) = 0;
};

std::vector<std::string> MomentumOperatorNames();

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_MOMENTUM_OPERATOR_H_
