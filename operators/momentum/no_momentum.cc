#include "operators/momentum/no_momentum.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/staged_operator.h"

namespace concord {
namespace {

class NoMomentum : public StagedOperator {
 public:
  NoMomentum(const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
             std::unique_ptr<Combiner> combiner,
             std::unique_ptr<LossRecorder> recorder)
      : StagedOperator(options, 0, 0, std::move(kernels), std::move(combiner),
                       std::move(recorder)) {}

  absl::Status Allocate() {
    return combiner_->works_on_columns() ? passes_.AllocateScratch()
                                         : absl::OkStatus();
  }

  // Memory for vectors that arrive in pieces. Ingest uses the caller's own.
  absl::StatusOr<StagedRow*> Stage(int index) override {
    const absl::Status status = AllocateStaged();
    if (!status.ok()) return status;
    return StagedOperator::Stage(index);
  }

  absl::StatusOr<void*> Lend(int position) override {
    const absl::Status status = AllocateStaged();
    if (!status.ok()) return status;
    return StagedOperator::Lend(position);
  }

  absl::Status Recompute(void* /*update*/) const override {
    return absl::UnimplementedError(
        "an operator without momentum does not keep its gradients");
  }

  absl::StatusOr<OperatorState> Export() const override {
    OperatorState state;
    state.committed_steps = committed_steps_;
    state.combiner = combiner_state_;
    if (recorder_ != nullptr) state.recorder = recorder_->State();
    return state;
  }

  absl::Status Import(const OperatorState& state) override {
    if (!state.momenta.empty() || !state.others.empty()) {
      return InvalidField("INVALID_OPTION", "state", "momenta",
                          "the state of an operator without momentum");
    }
    absl::StatusOr<std::unique_ptr<LossRecorder>> recorder =
        RestoredRecorder(state);
    if (!recorder.ok()) return recorder.status();
    Reset();
    committed_steps_ = state.committed_steps;
    combiner_state_ = state.combiner;
    recorder_ = *std::move(recorder);
    committed_.reset();
    return absl::OkStatus();
  }

 protected:
  StoredRows committed_rows() const override { return {}; }

  absl::Status SolveRows(absl::Span<Staging::Row* const> rows,
                         absl::Span<const double> losses,
                         absl::Span<const int> active,
                         StepSolution* solution) override {
    const int m = options().num_vectors;
    const absl::StatusOr<Eigen::MatrixXd> gram =
        staging_.Gram(rows, {}, Eigen::MatrixXd::Zero(m, m));
    if (!gram.ok()) return gram.status();
    vectors_.clear();
    scales_.clear();
    for (const Staging::Row* row : rows) {
      solution->indexes.push_back(row->index());
      vectors_.push_back(row->vector());
    }
    solution->gram = (*gram)(solution->indexes, solution->indexes);

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

  std::unique_ptr<DeviceMemory> memory_;
  // Of the solved step.
  std::vector<const void*> vectors_;
  std::vector<double> coefficients_;
  std::vector<int> participants_;
  std::optional<ColumnRule> rule_;
  std::vector<double> scales_;
  Eigen::VectorXd squares_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeNoMomentum(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
    std::unique_ptr<Combiner> combiner,
    std::unique_ptr<LossRecorder> recorder) {
  auto result = std::make_unique<NoMomentum>(
      options, std::move(kernels), std::move(combiner), std::move(recorder));
  absl::Status status = result->Allocate();
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
