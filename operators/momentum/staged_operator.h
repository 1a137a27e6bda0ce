// What all momentum operators share: staged rows, the recorder, the solved step
// and the order of the phases. A subclass brings its own state and algebra.
#ifndef CONCORD_OPERATORS_MOMENTUM_STAGED_OPERATOR_H_
#define CONCORD_OPERATORS_MOMENTUM_STAGED_OPERATOR_H_

#include <memory>
#include <optional>
#include <vector>

#include "operators/momentum/momentum_operator.h"
#include "operators/momentum/operator_parts.h"
#include "operators/momentum/row_passes.h"
#include "operators/momentum/staging.h"

namespace concord {

class StagedOperator : public MomentumOperator {
 public:
  const OperatorOptions& options() const override { return options_; }

  absl::StatusOr<StagedRow*> Stage(int index) override;
  void Drop(StagedRow* row) override;
  absl::Status Append(StagedRow* row,
                      absl::Span<const std::byte> bytes) override;
  absl::Status Complete(StagedRow* row) override;
  using MomentumOperator::Ingest;
  absl::Status Ingest(absl::Span<const int> indexes,
                      absl::Span<const void* const> gradients,
                      std::optional<HalfType> gradient_type) override;
  absl::StatusOr<void*> Lend(int position) override;
  void Reset() override;

  absl::StatusOr<Eigen::MatrixXd> Products() override;
  using MomentumOperator::Solve;
  absl::Status Solve(absl::Span<const int> loss_indexes,
                     absl::Span<const double> losses,
                     absl::Span<const int> active,
                     const Eigen::MatrixXd* products) override;
  const StepSolution* solution() const override {
    return solution_.has_value() ? &*solution_ : nullptr;
  }
  absl::Status Commit(void* update, bool with_update_cosines,
                      absl::FunctionRef<void(size_t)> progress) override;
  bool broken() const override { return broken_; }
  absl::Status Reconfigure(const OperatorOptions& options) override;
  absl::Status CheckReconfigure(const OperatorOptions& options) const override;

  int64_t committed_steps() const override { return committed_steps_; }
  const StepSolution* committed() const override {
    return committed_.has_value() ? &*committed_ : nullptr;
  }
  const LossRecorder* recorder() const override { return recorder_.get(); }

  absl::StatusOr<OperatorSnapshot> Snapshot() override;
  StoredState Stored() const override;
  absl::StatusOr<OperatorState> Export() const override;
  using MomentumOperator::Import;
  absl::Status Import(
      const OperatorNumbers& numbers,
      absl::Span<const absl::Span<const std::byte>> vectors) override;
  absl::Status Fill(
      const OperatorNumbers& numbers, size_t vectors,
      absl::FunctionRef<absl::Status(size_t position, void* memory)> fill)
      override;

 protected:
  // `parts.storage` is left for Open.
  StagedOperator(const OperatorOptions& options, double beta_1, double beta_2,
                 OperatorParts parts);

  // Makes the state's vectors, new or as stored, and all memory that a step
  // needs. To be called once, before all else. Overrides call it first.
  virtual absl::Status Open(OperatorStorage storage);

  // ---- For subclasses: the vectors of the state ----

  // Their holder has changed: pointers into them are to be taken anew.
  virtual void OnVectors() = 0;
  virtual OperatorNumbers Numbers() const = 0;
  // What a new operator has.
  virtual OperatorNumbers InitialNumbers() const = 0;
  // False when the sizes are another operator's.
  virtual bool Fits(const OperatorNumbers& numbers) const = 0;
  virtual void SetNumbers(const OperatorNumbers& numbers) = 0;
  // Gives every slot the memory that it lacks. Called before a row is staged.
  virtual absl::Status FillSlots() = 0;

  const std::vector<VectorHandle>& held() const { return held_; }
  absl::StatusOr<VectorHandle> TakeVector() { return pool_->Take(); }
  // Whether the step must write the vector's successor beside it.
  bool MustKeep(size_t position) const {
    return keeps_committed_ || in_snapshot_[position];
  }
  bool keeps_committed() const { return keeps_committed_; }
  // At a switch: `vector` takes the position of one that is held until the next
  // step begins.
  void Replace(size_t position, VectorHandle vector);

  // The committed vectors, or none.
  virtual StoredRows committed_rows() const = 0;
  // Of the rows 0 … m-1 as committed; zeros without momentum.
  virtual const Eigen::MatrixXd& committed_gram() const = 0;
  // Solves for `rows` (complete, by index) with `losses`; `gram` is of the rows
  // 0 … m-1 as the step makes them. Keeps what Switch and PassOfSolved need.
  // Fills everything of `solution` but the losses and cosines.
  virtual absl::Status SolveRows(absl::Span<Staging::Row* const> rows,
                                 Eigen::MatrixXd gram,
                                 absl::Span<const double> losses,
                                 absl::Span<const int> active,
                                 StepSolution* solution) = 0;
  // The commit's pass over whole vectors.
  virtual UpdatePass PassOfSolved() = 0;
  // |row|^2 of the solved step's row at `position`, as the pass reads it.
  virtual double RowSquare(size_t position) const = 0;
  // Makes the solved step the state.
  virtual void Switch(absl::Span<Staging::Row* const> rows) = 0;

  size_t VectorBytes() const {
    return options_.num_parameters * SizeOf(options_.dtype);
  }
  absl::Status CheckUsable() const;

  const std::shared_ptr<Kernels> kernels_;
  std::unique_ptr<Combiner> combiner_;
  Staging staging_;
  RowPasses passes_;
  std::unique_ptr<LossRecorder> recorder_;
  std::vector<double> combiner_state_;
  int64_t committed_steps_ = 0;
  std::optional<StepSolution> committed_;

 private:
  // A recorder like this operator's with the state's losses; null without.
  absl::StatusOr<std::unique_ptr<LossRecorder>> RestoredRecorder(
      const OperatorNumbers& numbers) const;
  absl::Status CheckFits(const OperatorNumbers& numbers, size_t vectors) const;
  // Makes it the state; `recorder` is its own.
  void Restore(const OperatorNumbers& numbers,
               std::unique_ptr<LossRecorder> recorder,
               std::vector<VectorHandle> vectors);
  absl::Status BeginStep();
  // The completed rows, at least one.
  absl::StatusOr<std::vector<Staging::Row*>> StepRows();
  // Whether `products` may be given, and can be a Gram matrix's.
  absl::Status CheckProducts(const Eigen::MatrixXd* products) const;
  // The solved step's cosines, from the dot products of its pass.
  void FillCosines(const UpdatePass& pass, const UpdateDots& dots);

  OperatorOptions options_;
  std::shared_ptr<VectorPool> pool_;
  bool keeps_committed_ = false;
  std::vector<VectorHandle> held_;
  std::vector<bool> in_snapshot_;  // Of held_, since it was put there.
  // Of the state before the committed one; not used again before it is known
  // that the committed one is safe.
  std::vector<VectorHandle> retired_;
  std::optional<StepSolution> solution_;
  std::vector<Staging::Row*> solved_rows_;
  std::unique_ptr<LossRecorder> next_recorder_;
  bool broken_ = false;
};

// `options.max_vectors_per_step` with its default filled in.
int MaxVectorsPerStep(const OperatorOptions& options);

// Vectors of one operator begin at multiples of a cache line.
inline constexpr size_t kVectorAlignment = 64;
size_t VectorStride(const OperatorOptions& options);  // Bytes.

// <direction, row_i> / (|direction| |row_i|) for the direction that the
// coefficients make of rows with this Gram matrix; 0 for a zero row or
// direction.
std::vector<double> DirectionCosines(const Eigen::MatrixXd& gram,
                                     absl::Span<const double> coefficients);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_STAGED_OPERATOR_H_
