#include "operators/momentum/separate_momentum.h"

#include <utility>

#include "operators/momentum/momenta_operator.h"

namespace concord {
namespace {

const SeparateMomentumOptions& SeparateOf(const OperatorOptions& options) {
  return std::get<SeparateMomentumOptions>(options.momentum);
}

class SeparateMomentum : public MomentaOperator {
 public:
  SeparateMomentum(const OperatorOptions& options,
                   std::shared_ptr<Kernels> kernels,
                   std::unique_ptr<Combiner> combiner,
                   std::unique_ptr<LossRecorder> recorder)
      : MomentaOperator(options, SeparateOf(options).beta_1,
                        SeparateOf(options).beta_2, std::move(kernels),
                        std::move(combiner), std::move(recorder)),
        rescalings_(options.num_vectors) {}

  // m and v of every loss, and of every staged row.
  absl::Status Allocate() {
    const size_t m = options().num_vectors;
    const size_t k = MaxVectorsPerStep(options());
    const bool columns = combiner_->works_on_columns();
    absl::StatusOr<std::vector<void*>> vectors =
        AllocateVectors(2 * (m + k) + (columns ? 1 : 0));
    if (!vectors.ok()) return vectors.status();
    if (columns) kept_ = {vectors->back()};
    auto next = vectors->begin();
    for (size_t i = 0; i < m; ++i) {
      rows_.push_back(*next++);
      seconds_.push_back(*next++);
      rescalings_[i].second = seconds_[i];
    }
    for (size_t slot = 0; slot < k; ++slot) {
      slots_.push_back(*next++);
      second_slots_.push_back(*next++);
      SetSlot(slot);
    }
    SetNextScales();
    absl::Status status = staging_.AllocateScratch();
    if (status.ok()) status = passes_.AllocateScratch();
    return status;
  }

  absl::Status Reconfigure(const OperatorOptions& options) override {
    const absl::Status status = MomentaOperator::Reconfigure(options);
    if (status.ok()) SetNextScales();
    return status;
  }

 protected:
  const ParticipationOptions& participation() const override {
    return SeparateOf(options()).participation;
  }

  // The rows are rescaled already, in what is multiplied as in the pass.
  double RowScale(int64_t /*updates*/) const override { return 1; }

  StoredRows committed_rows() const override { return {rows_, rescalings_}; }

  absl::Status SolveOwn(absl::Span<Staging::Row* const> rows) override {
    solved_rescalings_ = rescalings_;
    for (const Staging::Row* row : rows) {
      solved_rescalings_[row->index()] = row->rescaling();
    }
    pass_rescalings_ = solved_rescalings_;
    if (solved_.rule.has_value()) {
      pass_rescalings_.clear();
      for (const int i : solved_.participants) {
        pass_rescalings_.push_back(solved_rescalings_[i]);
      }
    }
    return absl::OkStatus();
  }

  void CompletePass(UpdatePass* pass) override {
    pass->rescalings = pass_rescalings_;
  }

  void SwitchOwn(absl::Span<Staging::Row* const> rows) override {
    for (Staging::Row* row : rows) {
      const int i = row->index();
      const int slot = row->slot();
      rescalings_[i] = row->rescaling();
      std::swap(rows_[i], slots_[slot]);
      std::swap(seconds_[i], second_slots_[slot]);
      SetSlot(slot);
      SetNextScale(i, solved_.updates[i] + 1);
    }
  }

  void CompleteCommitted(UpdatePass* pass) const override {
    if (kept_.empty()) pass->rescalings = rescalings_;
  }

  std::vector<void*> OtherVectors() const override {
    std::vector<void*> vectors = seconds_;
    vectors.insert(vectors.end(), kept_.begin(), kept_.end());
    return vectors;
  }

  void ExportOwn(OperatorState* state) const override {
    for (const Rescaling& rescaling : rescalings_) {
      state->scales.push_back(rescaling.scale);
      state->scales.push_back(rescaling.second_scale);
    }
  }
  bool FitsOwn(const OperatorState& state) const override {
    return state.scales.size() == 2 * rescalings_.size();
  }
  void ImportOwn(const OperatorState& state) override {
    for (size_t i = 0; i < rescalings_.size(); ++i) {
      rescalings_[i] = {seconds_[i], state.scales[2 * i],
                        state.scales[2 * i + 1]};
    }
    SetNextScales();
  }

 private:
  void SetSlot(size_t slot) {
    staging_.SetMemory(static_cast<int>(slot), slots_[slot],
                       second_slots_[slot]);
  }

  // The factors that loss i's next update, its t-th, is rescaled with.
  void SetNextScale(int i, int64_t t) {
    staging_.SetNextScales(i,
                           1 / BiasCorrection(SeparateOf(options()).beta_1, t),
                           1 / BiasCorrection(SeparateOf(options()).beta_2, t));
  }
  void SetNextScales() {
    for (int i = 0; i < options().num_vectors; ++i) {
      SetNextScale(i, updates_[i] + 1);
    }
  }

  std::vector<void*> seconds_;       // v_i
  std::vector<void*> second_slots_;  // Staged ones.
  std::vector<Rescaling> rescalings_;
  // Of the solved step: all rows', and those of the pass.
  std::vector<Rescaling> solved_rescalings_;
  std::vector<Rescaling> pass_rescalings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeSeparateMomentum(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
    std::unique_ptr<Combiner> combiner,
    std::unique_ptr<LossRecorder> recorder) {
  auto result = std::make_unique<SeparateMomentum>(
      options, std::move(kernels), std::move(combiner), std::move(recorder));
  absl::Status status = result->Allocate();
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
