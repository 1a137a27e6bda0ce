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
// Sharded parameters (OperatorOptions.sharded): every operator has a part of
// the parameters and all have the same losses. Dot products of whole vectors
// are sums of the parts' own, so a step needs one exchange between ingest and
// solve: the sum of what Products() gives, m x m numbers whatever n is. Solve
// is given that sum; with the same sum all parts find the same coefficients, to
// the bit, and keep the same Gram matrix, that of the whole vectors, from which
// all norms, cosines and bounds come. Their updates are the whole update's
// parts. An operator that is not sharded does the same with its own products.
//
// PseudoMomentumOperator (M-ConFIG; t_i counts updates of loss i, t live
// steps):
//   m_i <- b1 m_i + (1-b1) g_i        mhat_i = m_i / (1 - b1^t_i)
//   update = 0 until every loss has been seen; then
//   r = sum c_j mhat_j                f = r (1 - b1^t)
//   ghat = (f - b1 f_prev) / (1-b1)   s <- b2 s + (1-b2) ghat^2
//   update = r / (sqrt(s / (1 - b2^t)) + 1e-8)
// with c from the combiner on the Gram matrix of mhat. f_prev is a linear
// combination of the momenta before the step, so no vector is kept for it
// (except under a combiner that works on columns: there r is kept).
//
// SeparateMomentumOperator: every loss has a second momentum of its own,
//   m_i <- b1 m_i + (1-b1) g_i        v_i <- b2 v_i + (1-b2) g_i^2
//   x_i = m_i / (1 - b1^t_i) / (sqrt(v_i / (1 - b2^t_i)) + 1e-8)
//   update = 0 until every loss has been seen; then sum c_i x_i
// with c from the combiner on the Gram matrix of the x_i, which change with
// their loss's updates alone.
//
// "none": update = sum c_j g_j over the gradients of this step alone.
//
// Threads: rows that are staged may be appended to by one thread each, at the
// same time. Everything else needs the caller to exclude other calls, except
// that the const functions may run at the same time as each other.
//
// Memory: reserved at creation, MemoryBytes(options) on the kernels' device.
// While a snapshot is held, the steps after it may take as much again as the
// vectors that they replace.
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
#include "operators/momentum/participation.h"
#include "operators/momentum/vector_pool.h"

namespace concord {

struct PseudoMomentumOptions {
  double beta_1 = 0.9;    // In [0, 1).
  double beta_2 = 0.999;  // In [0, 1).
  ParticipationOptions participation = {};
  bool operator==(const PseudoMomentumOptions&) const = default;
};
struct SeparateMomentumOptions {
  double beta_1 = 0.9;    // In [0, 1).
  double beta_2 = 0.999;  // In [0, 1).
  ParticipationOptions participation = {};
  bool operator==(const SeparateMomentumOptions&) const = default;
};
struct NoMomentumOptions {
  bool operator==(const NoMomentumOptions&) const = default;
};
using MomentumOptions =
    std::variant<PseudoMomentumOptions, SeparateMomentumOptions,
                 NoMomentumOptions>;

struct OperatorOptions {
  int num_vectors = 0;        // m >= 1.
  size_t num_parameters = 0;  // n >= 1.
  Dtype dtype = Dtype::kFloat32;
  // k, 1 … m: most losses in one step. 0: m.
  int max_vectors_per_step = 0;
  MomentumOptions momentum;
  CombinerOptions combiner;
  std::optional<LossRecorderOptions> loss_recorder;
  // The parameters are one part of a model's; see above. Not for combiners that
  // work on columns: their length is no function of a Gram matrix.
  bool sharded = false;
  bool operator==(const OperatorOptions&) const = default;
};

// A step that is solved and not yet committed, or the last committed one.
struct StepSolution {
  bool warming_up = false;
  // The rows: all, or the step's (none). Those that do not take part in the
  // combination have coefficient 0.
  std::vector<int> indexes;
  std::vector<int> stale;   // Losses that an option left out.
  Combination combination;  // Coefficients of the rows (of mhat, of x).
  Eigen::MatrixXd gram;     // Of the rows (of mhat, of x).
  Eigen::MatrixXd cosines;
  std::vector<double> losses;  // Recorded ones; empty without a recorder.
  // <r, row> / (|r| |row|), 0 for a zero row. Filled by Solve; by Commit, and
  // where asked for, under a combiner that works on columns.
  std::vector<double> direction_cosines;
  // <update, row> / (|update| |row|). Filled by Commit, when asked for.
  std::vector<double> update_cosines;
};

// Everything small that a committed state consists of.
struct OperatorNumbers {
  Eigen::MatrixXd gram;               // Of the stored momenta, or of x.
  std::vector<int64_t> updates;       // t_i.
  std::vector<int64_t> last_updates;  // The step of each loss's last update.
  int64_t live_steps = 0;             // t.
  int64_t committed_steps = 0;
  // Of the last live step: the update's coefficients, of the stored momenta or
  // of x; Pseudo: those of f (on columns: its one, of r), and 1 / (1 - b2^t).
  std::vector<double> coefficients;
  std::vector<double> previous;
  double correction = 1;
  // Separate: 1 / (1 - b1^t_i) and 1 / (1 - b2^t_i) of every row's last update.
  std::vector<double> scales;
  std::vector<double> combiner;
  std::vector<double> recorder;
};

// A committed state that a VectorSource has kept.
struct StoredState {
  OperatorNumbers numbers;
  std::vector<uint32_t> places;  // Of the vectors, in a snapshot's order.
};

// Where an operator's vectors are.
struct OperatorStorage {
  std::shared_ptr<VectorSource>
      vectors;  // Null: memory of the kernels' device.
  // The committed vectors are never written: a step's are others, until the
  // first call for the step after it. "none" keeps its last update, so that it
  // can be recomputed (where the device's memory is the host's). One vector
  // more (with column methods two; "none" two).
  bool keeps_committed = false;
  // Begin with this state, whose vectors are not read.
  std::optional<StoredState> stored;
};

// A vector of the state. Names, in this order: "momentum.0" … (not "none");
// Pseudo: "second_momentum"; Separate: "second_momentum.0" …; then under a
// combiner that works on columns "direction", that of the last live step;
// "none": "update" where it is kept.
struct NamedVector {
  std::string name;
  VectorHandle vector;
};

// A committed state, as long as it is held: its vectors are not written.
struct OperatorSnapshot {
  OperatorNumbers numbers;
  std::vector<NamedVector> vectors;
};

// A committed state in host memory.
struct OperatorState : OperatorNumbers {
  std::vector<std::vector<std::byte>> momenta;  // m rows ("none": empty).
  std::vector<std::vector<std::byte>> others;   // The other named vectors.
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

  // INVALID_ARGUMENT (INVALID_OPTION) names the option that is out of range, or
  // `storage.stored`, whose sizes do not fit; RESOURCE_EXHAUSTED when the
  // device has not the memory.
  static absl::StatusOr<std::unique_ptr<MomentumOperator>> Create(
      const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
      OperatorStorage storage = {});

  // The checks of Create alone: options.momentum, combiner, sizes.
  static absl::Status Validate(const OperatorOptions& options);

  // Vectors' memory that Create reserves, each vector of n elements rounded up
  // to a cache line: m + k + 1 vectors (Pseudo), 2 m + 2 k (Separate), one more
  // under a combiner that works on columns, k (none); the update's own buffer
  // is the caller's. Some blocks of scratch memory come on top where rows are
  // made on the way (row_passes.h).
  static size_t MemoryBytes(const OperatorOptions& options) {
    return MemoryBytes(options, /*keeps_committed=*/false);
  }
  static size_t MemoryBytes(const OperatorOptions& options,
                            bool keeps_committed);

  // Vectors that an operator reserves of its source.
  static size_t SourceVectors(const OperatorOptions& options,
                              bool keeps_committed);

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
  // error no row of this call stays. `gradient_type`: the gradients have 16
  // bits and are widened in the pass that reads them, which is as if they had
  // come in fp32; for operators of that type alone (DATA_TYPE_MISMATCH).
  virtual absl::Status Ingest(absl::Span<const int> indexes,
                              absl::Span<const void* const> gradients,
                              std::optional<HalfType> gradient_type) = 0;
  absl::Status Ingest(absl::Span<const int> indexes,
                      absl::Span<const void* const> gradients) {
    return Ingest(indexes, gradients, std::nullopt);
  }

  // Memory of one vector, of `position` in [0, max_vectors_per_step), for the
  // caller to write a gradient of the next Ingest into. While any is in use no
  // row may be staged; the i-th gradient of that Ingest may lie in what was
  // lent for a position >= i, in rising order.
  virtual absl::StatusOr<void*> Lend(int position) = 0;

  // Gives up everything staged.
  virtual void Reset() = 0;

  // ---- solve and commit -----------------------------------------------------

  // The dot products that the completed rows bring, of this operator's own
  // parameters: m x m, symmetric; 0 where neither loss is in the step. Changes
  // nothing. FAILED_PRECONDITION: EMPTY_ROUND when no row is staged.
  virtual absl::StatusOr<Eigen::MatrixXd> Products() = 0;

  // Solves the step made of the completed rows. `loss_indexes` and `losses` are
  // recorded with it. `active`: the losses that count in this step's
  // combination, empty for all; the others' momenta move on all the same.
  // `products`: the sum of all parts' Products(), for a sharded operator, and
  // null for any other; entries of losses that are not in the step are not
  // looked at. After an error another Solve of the same rows may follow.
  // INVALID_ARGUMENT: LOSSES_WITHOUT_RECORDER, LOSSES_MISSING, NON_FINITE,
  // INDEX_OUT_OF_RANGE, DUPLICATE_INDEX, OUT_OF_SCALE, INVALID_MATRIX or
  // INVALID_OPTION (products); FAILED_PRECONDITION: EMPTY_ROUND when no row is
  // staged.
  virtual absl::Status Solve(absl::Span<const int> loss_indexes,
                             absl::Span<const double> losses,
                             absl::Span<const int> active,
                             const Eigen::MatrixXd* products) = 0;
  absl::Status Solve(absl::Span<const int> loss_indexes,
                     absl::Span<const double> losses,
                     absl::Span<const int> active) {
    return Solve(loss_indexes, losses, active, nullptr);
  }
  absl::Status Solve(absl::Span<const int> loss_indexes,
                     absl::Span<const double> losses) {
    return Solve(loss_indexes, losses, {});
  }

  // The step solved last (null before the first Solve and after Reset).
  virtual const StepSolution* solution() const = 0;

  // Writes the solved step's update to `update` (n elements, device memory),
  // then makes the step the state. `progress(elements)` is called, on the
  // calling thread, whenever the update's first `elements` elements are final.
  // `with_update_cosines` fills solution()->update_cosines; INVALID_ARGUMENT
  // (INVALID_OPTION) where the operator is sharded, as they are no function of
  // the Gram matrix; nothing changed then. Any other error is the device's; the
  // second momentum may then be half-written: `broken()`.
  virtual absl::Status Commit(void* update, bool with_update_cosines,
                              absl::FunctionRef<void(size_t)> progress) = 0;

  // After an error inside Commit: the operator refuses everything else.
  virtual bool broken() const = 0;

  // ---- options between steps
  // -------------------------------------------------

  // From the next step on: another combiner (of the same kind: with
  // coefficients, or on columns), betas, participation or recorder's betas.
  // A new beta holds for 1 - beta^t as a whole, t going on to count all
  // updates, as in conflictfree and torch.optim.Adam; what was computed before
  // stays. The combiner's state goes on where KeepsState says so.
  // INVALID_ARGUMENT: INVALID_OPTION as at creation, IMMUTABLE_OPTION for any
  // other difference; FAILED_PRECONDITION while rows are staged. On an error
  // nothing changed.
  virtual absl::Status Reconfigure(const OperatorOptions& options) = 0;
  // Whether it could, but for the staged rows.
  virtual absl::Status CheckReconfigure(
      const OperatorOptions& options) const = 0;

  // ---- committed state ------------------------------------------------------

  virtual int64_t committed_steps() const = 0;
  // The solution of the last committed step; null before the first.
  virtual const StepSolution* committed() const = 0;
  // Recorded losses and which were seen; null without a recorder.
  virtual const LossRecorder* recorder() const = 0;

  // Writes the committed update once more, the same bits. "none" can only where
  // it keeps its update, else UNIMPLEMENTED.
  virtual absl::Status Recompute(void* update) const = 0;

  // The committed state, held as it is while steps go on. Cheap: no copy. It
  // may outlive the operator.
  virtual absl::StatusOr<OperatorSnapshot> Snapshot() = 0;

  // Its numbers, and the places of its vectors.
  virtual StoredState Stored() const = 0;

  // Makes a state the committed one: its numbers and, in a snapshot's order,
  // its vectors in host memory. INVALID_ARGUMENT when sizes do not fit the
  // options; then, and after an error of the device, nothing changed.
  virtual absl::Status Import(
      const OperatorNumbers& numbers,
      absl::Span<const absl::Span<const std::byte>> vectors) = 0;

  // The same with vectors that `fill(position, memory)` writes, one after the
  // other, into device memory; `vectors`: how many there are. An error of
  // `fill` is returned; then nothing changed either.
  virtual absl::Status Fill(
      const OperatorNumbers& numbers, size_t vectors,
      absl::FunctionRef<absl::Status(size_t position, void* memory)> fill) = 0;

  // Computes the committed Gram matrix anew, from the stored vectors. Nothing
  // may be staged.
  virtual absl::Status RetakeGram() = 0;

  // The names of a snapshot's vectors.
  virtual std::vector<std::string> VectorNames() const = 0;

  // A snapshot as copies in host memory.
  virtual absl::StatusOr<OperatorState> Export() const = 0;
  absl::Status Import(const OperatorState& state);
};

std::vector<std::string> MomentumOperatorNames();

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_MOMENTUM_OPERATOR_H_
