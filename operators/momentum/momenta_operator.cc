#include "operators/momentum/momenta_operator.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr double kWhole[] = {1};

}  // namespace

double BiasCorrection(double beta, int64_t t) {
  return 1 - std::pow(beta, static_cast<double>(t));
}

MomentaOperator::MomentaOperator(const OperatorOptions& options, double beta_1,
                                 double beta_2,
                                 std::shared_ptr<Kernels> kernels,
                                 std::unique_ptr<Combiner> combiner,
                                 std::unique_ptr<LossRecorder> recorder)
    : StagedOperator(options, beta_1, beta_2, std::move(kernels),
                     std::move(combiner), std::move(recorder)),
      gram_(Eigen::MatrixXd::Zero(options.num_vectors, options.num_vectors)),
      updates_(options.num_vectors, 0),
      last_updates_(options.num_vectors, 0),
      coefficients_(options.num_vectors, 0.0) {}

absl::StatusOr<std::vector<void*>> MomentaOperator::AllocateVectors(
    size_t count) {
  const size_t stride = VectorStride(options());
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
      kernels_->Allocate(count * stride);
  if (!memory.ok()) return memory.status();
  std::vector<void*> vectors;
  for (size_t i = 0; i < count; ++i) {
    vectors.push_back(Advance((*memory)->data(), i * stride));
  }
  memory_.push_back(*std::move(memory));
  return vectors;
}

absl::Status MomentaOperator::SolveRows(absl::Span<Staging::Row* const> rows,
                                        absl::Span<const double> losses,
                                        absl::Span<const int> active,
                                        StepSolution* solution) {
  const int m = options().num_vectors;
  absl::StatusOr<Eigen::MatrixXd> gram =
      staging_.Gram(rows, committed_rows(), gram_);
  if (!gram.ok()) return gram.status();
  solved_ = Solved();
  solved_.gram = *std::move(gram);
  solved_.updates = updates_;
  solved_.last_updates = last_updates_;
  solved_.vectors.assign(rows_.begin(), rows_.end());
  for (const Staging::Row* row : rows) {
    ++solved_.updates[row->index()];
    solved_.last_updates[row->index()] = committed_steps_ + 1;
    solved_.vectors[row->index()] = row->vector();
  }

  solution->indexes.resize(m);
  std::iota(solution->indexes.begin(), solution->indexes.end(), 0);
  Eigen::VectorXd scale(m);
  std::vector<int64_t> steps_since(m);
  for (int i = 0; i < m; ++i) {
    const bool seen = solved_.updates[i] > 0;
    scale[i] = seen ? RowScale(solved_.updates[i]) : 0;
    steps_since[i] = committed_steps_ + 1 - solved_.last_updates[i];
    solution->warming_up |=
        !seen && (active.empty() || absl::c_linear_search(active, i));
  }
  solution->gram = scale.asDiagonal() * solved_.gram * scale.asDiagonal();
  if (solution->warming_up) {
    solution->combination.coefficients.assign(m, 0.0);
    solution->combination.state = combiner_state_;
    solved_.coefficients = coefficients_;
    return absl::OkStatus();
  }

  Participation part = Participants(participation(), solution->gram,
                                    solution->indexes, steps_since, active);
  solution->stale = std::move(part.stale);
  CombineInput input;
  input.gram = solution->gram;
  input.losses = losses;
  input.state = combiner_state_;
  absl::StatusOr<Combination> combination =
      SolveAmong(*combiner_, input, part.rows);
  if (!combination.ok()) return combination.status();
  solution->combination = *std::move(combination);

  solved_.live = true;
  solved_.coefficients.resize(m);
  for (int i = 0; i < m; ++i) {
    solved_.coefficients[i] = solution->combination.coefficients[i] * scale[i];
  }
  solved_.rule = solution->combination.columns;
  if (solved_.rule.has_value()) {
    solved_.participants = std::move(part.rows);
    for (const int i : solved_.participants) {
      solved_.rule_vectors.push_back(solved_.vectors[i]);
      solved_.rule_scales.push_back(scale[i]);
    }
  }
  return SolveOwn(rows);
}

UpdatePass MomentaOperator::PassOfSolved() {
  UpdatePass pass;
  if (!solved_.live) return pass;  // Warm-up: no rows, the update is zero.
  if (solved_.rule.has_value()) {
    pass.rule = &*solved_.rule;
    pass.scales = solved_.rule_scales;
    pass.positions = solved_.participants;
    pass.commit.rows = solved_.rule_vectors;
    pass.commit.direction = kWhole;
    pass.kept_direction = kept_.front();
  } else {
    pass.commit.rows = solved_.vectors;
    pass.commit.direction = solved_.coefficients;
  }
  CompletePass(&pass);
  return pass;
}

void MomentaOperator::Switch(absl::Span<Staging::Row* const> rows) {
  SwitchOwn(rows);
  gram_ = std::move(solved_.gram);
  updates_ = std::move(solved_.updates);
  last_updates_ = std::move(solved_.last_updates);
  coefficients_ = std::move(solved_.coefficients);
  if (solved_.live) ++live_steps_;
}

absl::Status MomentaOperator::Recompute(void* update) const {
  const absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  if (committed_steps_ == 0) {
    return absl::FailedPreconditionError("no step has been committed");
  }
  UpdatePass pass;
  // Of a step in warm-up the update is zero; live ones never stop.
  if (live_steps_ > 0) {
    if (kept_.empty()) {
      pass.commit.rows = committed_rows().vectors;
      pass.commit.direction = coefficients_;
    } else {
      pass.commit.rows = kept_;
      pass.commit.direction = kWhole;
    }
    CompleteCommitted(&pass);
  }
  pass.commit.update = update;
  return passes_.Run(pass, nullptr, [](size_t) {});
}

absl::StatusOr<OperatorState> MomentaOperator::Export() const {
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
  for (const void* other : OtherVectors()) state.others.push_back(copy(other));
  if (!status.ok()) return status;
  state.gram = gram_;
  state.updates = updates_;
  state.last_updates = last_updates_;
  state.live_steps = live_steps_;
  state.committed_steps = committed_steps_;
  state.coefficients = coefficients_;
  state.combiner = combiner_state_;
  if (recorder_ != nullptr) state.recorder = recorder_->State();
  ExportOwn(&state);
  return state;
}

absl::Status MomentaOperator::Import(const OperatorState& state) {
  const size_t m = options().num_vectors;
  const std::vector<void*> others = OtherVectors();
  const auto is_vector = [&](const std::vector<std::byte>& bytes) {
    return bytes.size() == VectorBytes();
  };
  const bool fits =
      state.momenta.size() == m && state.others.size() == others.size() &&
      absl::c_all_of(state.momenta, is_vector) &&
      absl::c_all_of(state.others, is_vector) &&
      state.gram.rows() == static_cast<Eigen::Index>(m) &&
      state.gram.cols() == static_cast<Eigen::Index>(m) &&
      state.updates.size() == m && state.last_updates.size() == m &&
      state.coefficients.size() == m && FitsOwn(state);
  if (!fits) {
    return InvalidField("INVALID_OPTION", "state",
                        "sizes of another operator's state",
                        absl::StrCat(m + others.size(), " vectors of ",
                                     options().num_parameters, " ",
                                     Name(options().dtype), " elements"));
  }
  absl::StatusOr<std::unique_ptr<LossRecorder>> recorder =
      RestoredRecorder(state);
  if (!recorder.ok()) return recorder.status();
  Reset();
  absl::Status status;
  for (size_t i = 0; i < m && status.ok(); ++i) {
    status = kernels_->CopyFromHost(rows_[i], state.momenta[i].data(),
                                    VectorBytes());
  }
  for (size_t i = 0; i < others.size() && status.ok(); ++i) {
    status = kernels_->CopyFromHost(others[i], state.others[i].data(),
                                    VectorBytes());
  }
  if (!status.ok()) return status;
  gram_ = state.gram;
  updates_ = state.updates;
  last_updates_ = state.last_updates;
  live_steps_ = state.live_steps;
  committed_steps_ = state.committed_steps;
  coefficients_ = state.coefficients;
  combiner_state_ = state.combiner;
  recorder_ = *std::move(recorder);
  committed_.reset();
  ImportOwn(state);
  return absl::OkStatus();
}

}  // namespace concord
