#include "operators/momentum/pseudo_momentum.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/staged_operator.h"

namespace concord {
namespace {

constexpr double kEpsilon = 1e-8;

// 1 - beta^t
double BiasCorrection(double beta, int64_t t) {
  return 1 - std::pow(beta, static_cast<double>(t));
}

class PseudoMomentum : public StagedOperator {
 public:
  PseudoMomentum(const OperatorOptions& options,
                 std::shared_ptr<Kernels> kernels,
                 std::unique_ptr<Combiner> combiner,
                 std::unique_ptr<LossRecorder> recorder)
      : StagedOperator(
            options, std::get<PseudoMomentumOptions>(options.momentum).beta_1,
            std::move(kernels), std::move(combiner), std::move(recorder)),
        momentum_(std::get<PseudoMomentumOptions>(options.momentum)),
        gram_(Eigen::MatrixXd::Zero(options.num_vectors, options.num_vectors)),
        updates_(options.num_vectors, 0),
        coefficients_(options.num_vectors, 0.0) {}

  // Momenta, second momentum and staged vectors in one piece of memory.
  absl::Status Allocate() {
    const int m = options_.num_vectors;
    const int k = MaxVectorsPerStep(options_);
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        kernels_->Allocate(MomentumOperator::MemoryBytes(options_));
    if (!memory.ok()) return memory.status();
    memory_ = *std::move(memory);
    auto* vector = static_cast<std::byte*>(memory_->data());
    const auto next = [&] {
      std::byte* current = vector;
      vector += VectorStride(options_);
      return static_cast<void*>(current);
    };
    for (int i = 0; i < m; ++i) rows_.push_back(next());
    second_ = next();
    for (int slot = 0; slot < k; ++slot) {
      slots_.push_back(next());
      staging_.SetMemory(slot, slots_.back());
    }
    return absl::OkStatus();
  }

  absl::Status Recompute(void* update) const override {
    absl::Status status = CheckUsable();
    if (!status.ok()) return status;
    if (committed_steps_ == 0) {
      return absl::FailedPreconditionError("no step has been committed");
    }
    CommitPass pass;
    if (live_steps_ > 0) {
      pass.rows = committed_rows();
      pass.direction = coefficients_;
      pass.second = second_;
      pass.correction = 1 / BiasCorrection(momentum_.beta_2, live_steps_);
      pass.epsilon = kEpsilon;
    }
    pass.update = update;
    return RunPass(pass, false, nullptr, [](size_t) {});
  }

  absl::StatusOr<OperatorState> Export() const override {
    absl::Status status = CheckUsable();
    if (!status.ok()) return status;
    OperatorState state;
    const auto copy = [&](const void* vector) {
      std::vector<std::byte> bytes(VectorBytes());
      if (status.ok()) {
        status = kernels_->CopyToHost(bytes.data(), vector, bytes.size());
      }
      return bytes;
    };
    for (const void* row : rows_) state.momenta.push_back(copy(row));
    state.second = copy(second_);
    if (!status.ok()) return status;
    state.gram = gram_;
    state.updates = updates_;
    state.live_steps = live_steps_;
    state.committed_steps = committed_steps_;
    state.coefficients = coefficients_;
    state.combiner = combiner_state_;
    if (recorder_ != nullptr) state.recorder = recorder_->State();
    return state;
  }

  absl::Status Import(const OperatorState& state) override {
    const size_t m = options_.num_vectors;
    bool fits = state.momenta.size() == m &&
                state.second.size() == VectorBytes() &&
                state.gram.rows() == static_cast<Eigen::Index>(m) &&
                state.gram.cols() == static_cast<Eigen::Index>(m) &&
                state.updates.size() == m && state.coefficients.size() == m;
    for (const auto& row : state.momenta) {
      fits = fits && row.size() == VectorBytes();
    }
    if (!fits) {
      return InvalidField(
          "INVALID_OPTION", "state", "sizes of another operator's state",
          absl::StrCat(m, " vectors of ", options_.num_parameters, " ",
                       Name(options_.dtype), " elements"));
    }
    std::unique_ptr<LossRecorder> recorder;
    if (recorder_ != nullptr) {
      recorder = recorder_->Clone();
      const absl::Status status = recorder->Restore(state.recorder);
      if (!status.ok()) return status;
    }
    Reset();
    absl::Status status;
    for (size_t i = 0; i < m && status.ok(); ++i) {
      status = kernels_->CopyFromHost(rows_[i], state.momenta[i].data(),
                                      VectorBytes());
    }
    if (status.ok()) {
      status =
          kernels_->CopyFromHost(second_, state.second.data(), VectorBytes());
    }
    if (!status.ok()) return status;
    gram_ = state.gram;
    updates_ = state.updates;
    live_steps_ = state.live_steps;
    committed_steps_ = state.committed_steps;
    coefficients_ = state.coefficients;
    combiner_state_ = state.combiner;
    recorder_ = std::move(recorder);
    committed_.reset();
    return absl::OkStatus();
  }

 protected:
  Staging::CommittedRows committed_rows() const override {
    return absl::MakeConstSpan(rows_);
  }

  absl::Status SolveRows(absl::Span<Staging::Row* const> rows,
                         absl::Span<const double> losses,
                         StepSolution* solution) override {
    const int m = options_.num_vectors;
    absl::StatusOr<Eigen::MatrixXd> gram =
        staging_.Gram(rows, committed_rows(), gram_);
    if (!gram.ok()) return gram.status();
    solved_ = Solved();
    solved_.gram = *std::move(gram);
    solved_.updates = updates_;
    solved_.vectors.assign(rows_.begin(), rows_.end());
    for (const Staging::Row* row : rows) {
      ++solved_.updates[row->index()];
      solved_.vectors[row->index()] = row->vector();
      solved_.replaced.push_back(rows_[row->index()]);
    }

    solution->indexes.resize(m);
    for (int i = 0; i < m; ++i) solution->indexes[i] = i;
    // The Gram matrix of mhat_i = m_i / (1 - beta_1^t_i).
    Eigen::VectorXd scale(m);
    for (int i = 0; i < m; ++i) {
      solution->warming_up |= solved_.updates[i] == 0;
      scale[i] = solved_.updates[i] == 0
                     ? 0
                     : 1 / BiasCorrection(momentum_.beta_1, solved_.updates[i]);
    }
    solution->gram = scale.asDiagonal() * solved_.gram * scale.asDiagonal();
    if (solution->warming_up) {
      solution->combination.coefficients.assign(m, 0.0);
      solution->combination.state = combiner_state_;
      solved_.coefficients = coefficients_;
      return absl::OkStatus();
    }

    CombineInput input;
    input.gram = solution->gram;
    input.losses = losses;
    input.state = combiner_state_;
    absl::StatusOr<Combination> combination = combiner_->Solve(input);
    if (!combination.ok()) return combination.status();
    solution->combination = *std::move(combination);

    solved_.live = true;
    solved_.coefficients.resize(m);
    for (int i = 0; i < m; ++i) {
      solved_.coefficients[i] =
          solution->combination.coefficients[i] * scale[i];
    }
    // ghat = (f - beta_1 f_prev) / (1 - beta_1): f over the new rows, f_prev
    // over the rows as they were before this step.
    const int64_t t = live_steps_ + 1;
    const double one_minus_beta = 1 - momentum_.beta_1;
    const double now = BiasCorrection(momentum_.beta_1, t) / one_minus_beta;
    const double before = -momentum_.beta_1 *
                          BiasCorrection(momentum_.beta_1, t - 1) /
                          one_minus_beta;
    solved_.pseudo.resize(m);
    std::vector<bool> replaced(m, false);
    for (const Staging::Row* row : rows) {
      replaced[row->index()] = true;
      solved_.previous.push_back(before * coefficients_[row->index()]);
    }
    for (int i = 0; i < m; ++i) {
      solved_.pseudo[i] = now * solved_.coefficients[i];
      if (!replaced[i]) solved_.pseudo[i] += before * coefficients_[i];
    }
    return CheckScale(rows);
  }

  CommitPass PassOfSolved() override {
    CommitPass pass;
    if (!solved_.live) return pass;  // Warm-up: no rows, the update is zero.
    pass.rows = solved_.vectors;
    pass.direction = solved_.coefficients;
    pass.pseudo = solved_.pseudo;
    pass.previous_rows = solved_.replaced;
    pass.previous = solved_.previous;
    pass.second = second_;
    pass.update_second = true;
    pass.beta_2 = momentum_.beta_2;
    pass.correction = 1 / BiasCorrection(momentum_.beta_2, live_steps_ + 1);
    pass.epsilon = kEpsilon;
    return pass;
  }

  double PassRowSquare(size_t i) const override { return solved_.gram(i, i); }

  void Switch(absl::Span<Staging::Row* const> rows) override {
    for (Staging::Row* row : rows) {
      std::swap(rows_[row->index()], slots_[row->slot()]);
      staging_.SetMemory(row->slot(), slots_[row->slot()]);
    }
    gram_ = std::move(solved_.gram);
    updates_ = std::move(solved_.updates);
    coefficients_ = std::move(solved_.coefficients);
    if (solved_.live) ++live_steps_;
  }

 private:
  // A solved step that is not committed yet.
  struct Solved {
    bool live = false;
    Eigen::MatrixXd gram;              // Of the stored rows.
    std::vector<int64_t> updates;      // t_i
    std::vector<double> coefficients;  // Of the stored rows.
    std::vector<const void*> vectors;  // The rows after this step.
    std::vector<double> pseudo;
    std::vector<const void*> replaced;  // The updated rows before it.
    std::vector<double> previous;
  };

  // The second momentum is stored in the session's type: refuse a step whose
  // square might not fit, instead of an infinity for good.
  absl::Status CheckScale(absl::Span<Staging::Row* const> rows) const {
    double bound = 0;
    for (int i = 0; i < options_.num_vectors; ++i) {
      bound += std::abs(solved_.pseudo[i]) * std::sqrt(solved_.gram(i, i));
    }
    for (size_t p = 0; p < rows.size(); ++p) {
      const int i = rows[p]->index();
      bound += std::abs(solved_.previous[p]) * std::sqrt(gram_(i, i));
    }
    const double largest = options_.dtype == Dtype::kFloat32
                               ? double{std::numeric_limits<float>::max()}
                               : std::numeric_limits<double>::max();
    const double accepted = std::sqrt(largest) / 2;
    // Also false for NaN.
    if (bound <= accepted) return absl::OkStatus();
    return InvalidField(
        "OUT_OF_SCALE", "vectors",
        absl::StrCat("a pseudo gradient of norm up to ", bound),
        absl::StrCat("norms up to ", accepted, " in ", Name(options_.dtype)));
  }

  const PseudoMomentumOptions momentum_;
  std::unique_ptr<DeviceMemory> memory_;
  std::vector<void*> rows_;   // m_i
  std::vector<void*> slots_;  // Staged ones.
  void* second_ = nullptr;    // s
  Eigen::MatrixXd gram_;      // Of the rows as stored.
  std::vector<int64_t> updates_;
  std::vector<double> coefficients_;  // Of the stored rows, last live step.
  int64_t live_steps_ = 0;
  Solved solved_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakePseudoMomentum(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
    std::unique_ptr<Combiner> combiner,
    std::unique_ptr<LossRecorder> recorder) {
  auto result = std::make_unique<PseudoMomentum>(
      options, std::move(kernels), std::move(combiner), std::move(recorder));
  absl::Status status = result->Allocate();
  if (!status.ok()) return status;
  return result;
}

}  // namespace concord
