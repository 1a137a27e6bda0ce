#include "operators/momentum/pseudo_momentum.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/momentum/largest_norm.h"
#include "operators/momentum/momenta_operator.h"

namespace concord {
namespace {

const PseudoMomentumOptions& PseudoOf(const OperatorOptions& options) {
  return std::get<PseudoMomentumOptions>(options.momentum);
}

class PseudoMomentum : public MomentaOperator {
 public:
  PseudoMomentum(const OperatorOptions& options, OperatorParts parts)
      : MomentaOperator(options, PseudoOf(options).beta_1,
                        PseudoOf(options).beta_2, std::move(parts)),
        slots_(MaxVectorsPerStep(options)),
        previous_(columns() ? 1 : options.num_vectors, 0.0) {}

  absl::Status Open(OperatorStorage storage) override {
    const absl::Status status = MomentaOperator::Open(std::move(storage));
    return status.ok() && columns() ? passes_.AllocateScratch() : status;
  }

 protected:
  const ParticipationOptions& participation() const override {
    return PseudoOf(options()).participation;
  }

  // mhat_i = m_i / (1 - beta_1^t_i)
  double RowScale(int64_t updates) const override {
    return 1 / BiasCorrection(PseudoOf(options()).beta_1, updates);
  }

  // ghat = (f - beta_1 f_prev) / (1 - beta_1): f over the new rows, f_prev over
  // the rows as they were before this step.
  absl::Status SolveOwn(absl::Span<Staging::Row* const> rows) override {
    const int m = options().num_vectors;
    const double beta_1 = PseudoOf(options()).beta_1;
    own_ = Own();
    const double now = BiasCorrection(beta_1, live_steps_ + 1);
    const double before = -beta_1 / (1 - beta_1);
    own_.correction =
        1 / BiasCorrection(PseudoOf(options()).beta_2, live_steps_ + 1);
    if (MustKeep(SecondPosition())) {
      absl::StatusOr<VectorHandle> vector = TakeVector();
      if (!vector.ok()) return vector.status();
      own_.next_second = *std::move(vector);
    }
    if (columns()) {
      own_.next_previous = {now};
      own_.pseudo = {now / (1 - beta_1)};
      own_.replaced = {kept_.front()};
      own_.previous = {before * previous_[0]};
      return CheckScale(own_.pseudo[0] *
                            RowNorms(solved_.gram, solved_.updates) +
                        std::abs(own_.previous[0]) * RowNorms(gram_, updates_));
    }
    own_.pseudo.resize(m);
    own_.next_previous.resize(m);
    std::vector<bool> replaced(m, false);
    double bound = 0;
    for (const Staging::Row* row : rows) {
      const int i = row->index();
      replaced[i] = true;
      own_.replaced.push_back(rows_[i]);
      own_.previous.push_back(before * previous_[i]);
      bound += std::abs(own_.previous.back()) * std::sqrt(gram_(i, i));
    }
    for (int i = 0; i < m; ++i) {
      own_.next_previous[i] = now * solved_.coefficients[i];
      own_.pseudo[i] = own_.next_previous[i] / (1 - beta_1);
      if (!replaced[i]) own_.pseudo[i] += before * previous_[i];
      bound += std::abs(own_.pseudo[i]) * std::sqrt(solved_.gram(i, i));
    }
    return CheckScale(bound);
  }

  void CompletePass(UpdatePass* pass) override {
    pass->commit.pseudo = own_.pseudo;
    pass->commit.previous_rows = own_.replaced;
    pass->commit.previous = own_.previous;
    pass->commit.second = second_;
    if (own_.next_second != nullptr) {
      pass->commit.new_second = own_.next_second->data();
    }
    pass->commit.update_second = true;
    pass->commit.beta_2 = PseudoOf(options()).beta_2;
    pass->commit.correction = own_.correction;
    pass->commit.epsilon = kEpsilon;
  }

  void SwitchOwn(absl::Span<Staging::Row* const> rows) override {
    for (Staging::Row* row : rows) {
      Replace(row->index(), std::move(slots_[row->slot()]));
    }
    if (!solved_.live) return;
    previous_ = std::move(own_.next_previous);
    correction_ = own_.correction;
    if (own_.next_second != nullptr) {
      Replace(SecondPosition(), std::move(own_.next_second));
    }
  }

  void CompleteCommitted(UpdatePass* pass) const override {
    pass->commit.second = second_;
    pass->commit.correction = correction_;
    pass->commit.epsilon = kEpsilon;
  }

  std::vector<std::string> VectorNames() const override {
    std::vector<std::string> names;
    for (int i = 0; i < options().num_vectors; ++i) {
      names.push_back(absl::StrCat("momentum.", i));
    }
    names.push_back("second_momentum");
    if (columns()) names.push_back("direction");
    return names;
  }
  void OnVectors() override {
    MomentaOperator::OnVectors();
    second_ = held()[SecondPosition()]->data();
  }
  absl::Status FillSlots() override {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot] != nullptr) continue;
      absl::StatusOr<VectorHandle> vector = TakeVector();
      if (!vector.ok()) return vector.status();
      slots_[slot] = *std::move(vector);
      staging_.SetMemory(static_cast<int>(slot), slots_[slot]->data());
    }
    return absl::OkStatus();
  }
  void NumbersOwn(OperatorNumbers* numbers) const override {
    numbers->previous = previous_;
    numbers->correction = correction_;
  }
  bool FitsOwn(const OperatorNumbers& numbers) const override {
    return numbers.previous.size() == previous_.size();
  }
  void SetNumbersOwn(const OperatorNumbers& numbers) override {
    previous_ = numbers.previous;
    correction_ = numbers.correction;
  }

 private:
  // Of the solved step.
  struct Own {
    double correction = 1;
    VectorHandle next_second;  // Null: the pass writes it in place.
    std::vector<double> pseudo;
    std::vector<const void*> replaced;  // The updated rows before it.
    std::vector<double> previous;
    std::vector<double> next_previous;
  };

  // sum_i |mhat_i|: no rule on columns makes more of them.
  double RowNorms(const Eigen::MatrixXd& gram,
                  const std::vector<int64_t>& updates) const {
    double sum = 0;
    for (size_t i = 0; i < updates.size(); ++i) {
      if (updates[i] > 0) sum += RowScale(updates[i]) * std::sqrt(gram(i, i));
    }
    return sum;
  }

  // The second momentum is stored in the session's type.
  absl::Status CheckScale(double bound) const {
    return CheckNorm("vectors", "a pseudo gradient of norm up to ", bound,
                     options().dtype);
  }

  size_t SecondPosition() const { return options().num_vectors; }

  std::vector<VectorHandle> slots_;  // Staged ones; null: to be taken.
  void* second_ = nullptr;           // s
  // Coefficients of f of the last live step: of the rows, or of r.
  std::vector<double> previous_;
  double correction_ = 1;  // Of the last live step: 1 / (1 - beta_2^t).
  Own own_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakePseudoMomentum(
    const OperatorOptions& options, OperatorParts parts) {
  OperatorStorage storage = std::move(parts.storage);
  auto result = std::make_unique<PseudoMomentum>(options, std::move(parts));
  absl::Status status = result->Open(std::move(storage));
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
