#include "operators/momentum/no_momentum.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/staged_operator.h"

namespace concord {
namespace {

class NoMomentum : public StagedOperator {
 public:
  NoMomentum(const OperatorOptions& options, OperatorParts parts)
      : StagedOperator(options, 0, 0, std::move(parts)),
        committed_gram_(
            Eigen::MatrixXd::Zero(options.num_vectors, options.num_vectors)) {}

  absl::Status Open(OperatorStorage storage) override {
    const absl::Status status = StagedOperator::Open(std::move(storage));
    return status.ok() && combiner_->works_on_columns()
               ? passes_.AllocateScratch()
               : status;
  }

  // Memory for vectors that arrive in pieces. Ingest uses the caller's own.
  using StagedOperator::Ingest;
  absl::StatusOr<StagedRow*> Stage(int index) override {
    const absl::Status status = AllocateStaged();
    if (!status.ok()) return status;
    return StagedOperator::Stage(index);
  }

  // What is combined is of fp32: 16-bit vectors are widened into that memory.
  absl::Status Ingest(absl::Span<const int> indexes,
                      absl::Span<const void* const> gradients,
                      std::optional<HalfType> gradient_type) override {
    if (gradient_type.has_value()) {
      const absl::Status status = AllocateStaged();
      if (!status.ok()) return status;
    }
    return StagedOperator::Ingest(indexes, gradients, gradient_type);
  }

  absl::StatusOr<void*> Lend(int position) override {
    const absl::Status status = AllocateStaged();
    if (!status.ok()) return status;
    return StagedOperator::Lend(position);
  }

  // The update is kept as it becomes final.
  absl::Status Commit(void* update, bool with_update_cosines,
                      absl::FunctionRef<void(size_t)> progress) override {
    if (next_update_ == nullptr) {
      return StagedOperator::Commit(update, with_update_cosines, progress);
    }
    // Commit's end takes the handle.
    void* const kept = next_update_->data();
    size_t done = 0;
    absl::Status copied;
    const absl::Status status = StagedOperator::Commit(
        update, with_update_cosines, [&](size_t elements) {
          const size_t end = elements * SizeOf(options().dtype);
          if (copied.ok()) {
            copied = kernels_->CopyOnDevice(Advance(kept, done),
                                            Advance(update, done), end - done);
          }
          done = end;
          progress(elements);
        });
    return status.ok() ? copied : status;
  }

  absl::Status RetakeGram() override { return CheckUsable(); }

  absl::Status Recompute(void* update) const override {
    if (held().empty()) {
      return absl::UnimplementedError(
          "an operator without momentum does not keep its gradients");
    }
    if (committed_steps_ == 0) {
      return absl::FailedPreconditionError("no step has been committed");
    }
    return kernels_->CopyOnDevice(update, held().front()->data(),
                                  VectorBytes());
  }

 protected:
  StoredRows committed_rows() const override { return {}; }
  const Eigen::MatrixXd& committed_gram() const override {
    return committed_gram_;
  }

  std::vector<std::string> VectorNames() const override {
    if (!keeps_committed()) return {};
    return {"update"};
  }
  void OnVectors() override {}
  OperatorNumbers Numbers() const override { return {}; }
  OperatorNumbers InitialNumbers() const override { return {}; }
  bool Fits(const OperatorNumbers& numbers) const override {
    return numbers.updates.empty() && numbers.gram.size() == 0;
  }
  void SetNumbers(const OperatorNumbers& /*numbers*/) override {}
  absl::Status FillSlots() override { return absl::OkStatus(); }

  absl::Status SolveRows(absl::Span<Staging::Row* const> rows,
                         Eigen::MatrixXd gram, absl::Span<const double> losses,
                         absl::Span<const int> active,
                         StepSolution* solution) override {
    vectors_.clear();
    scales_.clear();
    for (const Staging::Row* row : rows) {
      solution->indexes.push_back(row->index());
      vectors_.push_back(row->vector());
    }
    solution->gram = gram(solution->indexes, solution->indexes);

    CombineInput input;
    input.gram = solution->gram;
    std::vector<double> losses_of_rows;
    if (!losses.empty()) {
      for (const int index : solution->indexes) {
        losses_of_rows.push_back(losses[index]);
      }
    }
    input.losses = losses_of_rows;
    input.state = combiner_state_;
    input.indexes = solution->indexes;
    participants_ = Participants({}, solution->gram, solution->indexes,
                                 std::vector<int64_t>(rows.size()), active)
                        .rows;
    if (participants_.empty()) {
      return InvalidField("INVALID_OPTION", "active",
                          "none of the losses of this step",
                          "at least one loss that the step brings");
    }
    absl::StatusOr<Combination> combination =
        SolveAmong(*combiner_, input, participants_);
    if (!combination.ok()) return combination.status();
    solution->combination = *std::move(combination);
    coefficients_ = solution->combination.coefficients;
    rule_ = solution->combination.columns;
    if (rule_.has_value()) {
      std::vector<const void*> all = std::move(vectors_);
      vectors_.clear();
      for (const int i : participants_) vectors_.push_back(all[i]);
      scales_.assign(vectors_.size(), 1.0);
      coefficients_ = {1};
    }
    squares_ = solution->gram.diagonal();
    next_update_ = nullptr;
    if (keeps_committed()) {
      absl::StatusOr<VectorHandle> vector = TakeVector();
      if (!vector.ok()) return vector.status();
      next_update_ = *std::move(vector);
    }
    return absl::OkStatus();
  }

  UpdatePass PassOfSolved() override {
    UpdatePass pass;
    pass.commit.rows = vectors_;
    pass.commit.direction = coefficients_;
    if (rule_.has_value()) {
      pass.rule = &*rule_;
      pass.scales = scales_;
      pass.positions = participants_;
    }
    return pass;
  }

  double RowSquare(size_t position) const override {
    return squares_[position];
  }

  void Switch(absl::Span<Staging::Row* const> /*rows*/) override {
    vectors_.clear();
    if (next_update_ != nullptr) Replace(0, std::move(next_update_));
  }

 private:
  absl::Status AllocateStaged() {
    if (memory_ != nullptr) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        kernels_->Allocate(MomentumOperator::MemoryBytes(options()));
    if (!memory.ok()) return memory.status();
    memory_ = *std::move(memory);
    for (int slot = 0; slot < MaxVectorsPerStep(options()); ++slot) {
      staging_.SetMemory(slot, static_cast<std::byte*>(memory_->data()) +
                                   slot * VectorStride(options()));
    }
    return absl::OkStatus();
  }

  const Eigen::MatrixXd committed_gram_;  // Nothing is kept: zeros.
  std::unique_ptr<DeviceMemory> memory_;
  // Of the solved step.
  VectorHandle next_update_;  // Null: it is not kept.
  std::vector<const void*> vectors_;
  std::vector<double> coefficients_;
  std::vector<int> participants_;
  std::optional<ColumnRule> rule_;
  std::vector<double> scales_;
  Eigen::VectorXd squares_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeNoMomentum(
    const OperatorOptions& options, OperatorParts parts) {
  OperatorStorage storage = std::move(parts.storage);
  auto result = std::make_unique<NoMomentum>(options, std::move(parts));
  absl::Status status = result->Open(std::move(storage));
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
