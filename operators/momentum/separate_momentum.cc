#include "operators/momentum/separate_momentum.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/momentum/momenta_operator.h"

namespace concord {
namespace {

const SeparateMomentumOptions& SeparateOf(const OperatorOptions& options) {
  return std::get<SeparateMomentumOptions>(options.momentum);
}

class SeparateMomentum : public MomentaOperator {
 public:
  SeparateMomentum(const OperatorOptions& options, OperatorParts parts)
      : MomentaOperator(options, SeparateOf(options).beta_1,
                        SeparateOf(options).beta_2, std::move(parts)),
        slots_(MaxVectorsPerStep(options)),
        second_slots_(MaxVectorsPerStep(options)),
        rescalings_(options.num_vectors) {}

  absl::Status Open(OperatorStorage storage) override {
    absl::Status status = MomentaOperator::Open(std::move(storage));
    if (status.ok()) status = staging_.AllocateScratch();
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
      Replace(i, std::move(slots_[slot]));
      Replace(SecondPosition(i), std::move(second_slots_[slot]));
      rescalings_[i] = row->rescaling();
      SetNextScale(i, solved_.updates[i] + 1);
    }
  }

  void CompleteCommitted(UpdatePass* pass) const override {
    if (kept_.empty()) pass->rescalings = rescalings_;
  }

  std::vector<std::string> VectorNames() const override {
    std::vector<std::string> names;
    for (const char* kind : {"momentum.", "second_momentum."}) {
      for (int i = 0; i < options().num_vectors; ++i) {
        names.push_back(absl::StrCat(kind, i));
      }
    }
    if (columns()) names.push_back("direction");
    return names;
  }
  void OnVectors() override {
    MomentaOperator::OnVectors();
    for (int i = 0; i < options().num_vectors; ++i) {
      rescalings_[i].second = held()[SecondPosition(i)]->data();
    }
  }
  absl::Status FillSlots() override {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      for (VectorHandle* memory : {&slots_[slot], &second_slots_[slot]}) {
        if (*memory != nullptr) continue;
        absl::StatusOr<VectorHandle> vector = TakeVector();
        if (!vector.ok()) return vector.status();
        *memory = *std::move(vector);
      }
      staging_.SetMemory(static_cast<int>(slot), slots_[slot]->data(),
                         second_slots_[slot]->data());
    }
    return absl::OkStatus();
  }

  void NumbersOwn(OperatorNumbers* numbers) const override {
    for (const Rescaling& rescaling : rescalings_) {
      numbers->scales.push_back(rescaling.scale);
      numbers->scales.push_back(rescaling.second_scale);
    }
  }
  bool FitsOwn(const OperatorNumbers& numbers) const override {
    return numbers.scales.size() == 2 * rescalings_.size();
  }
  void SetNumbersOwn(const OperatorNumbers& numbers) override {
    for (size_t i = 0; i < rescalings_.size(); ++i) {
      rescalings_[i].scale = numbers.scales[2 * i];
      rescalings_[i].second_scale = numbers.scales[2 * i + 1];
    }
    SetNextScales();
  }

 private:
  size_t SecondPosition(int i) const { return options().num_vectors + i; }

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

  // Staged ones; null: to be taken.
  std::vector<VectorHandle> slots_;
  std::vector<VectorHandle> second_slots_;
  std::vector<Rescaling> rescalings_;
  // Of the solved step: all rows', and those of the pass.
  std::vector<Rescaling> solved_rescalings_;
  std::vector<Rescaling> pass_rescalings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeSeparateMomentum(
    const OperatorOptions& options, OperatorParts parts) {
  OperatorStorage storage = std::move(parts.storage);
  auto result = std::make_unique<SeparateMomentum>(options, std::move(parts));
  absl::Status status = result->Open(std::move(storage));
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
