#include "operators/momentum/momenta_operator.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "operators/momentum/stored_gram.h"

namespace concord {
namespace {

constexpr double kWhole[] = {1};

}  // namespace

double BiasCorrection(double beta, int64_t t) {
  return 1 - std::pow(beta, static_cast<double>(t));
}

MomentaOperator::MomentaOperator(const OperatorOptions& options, double beta_1,
                                 double beta_2, OperatorParts parts)
    : StagedOperator(options, beta_1, beta_2, std::move(parts)),
      columns_(combiner_->works_on_columns()) {}

void MomentaOperator::OnVectors() {
  rows_.clear();
  for (int i = 0; i < options().num_vectors; ++i) {
    rows_.push_back(held()[i]->data());
  }
  if (columns_) kept_ = {held()[direction_position()]->data()};
}

absl::Status MomentaOperator::SolveRows(absl::Span<Staging::Row* const> rows,
                                        Eigen::MatrixXd gram,
                                        absl::Span<const double> losses,
                                        absl::Span<const int> active,
                                        StepSolution* solution) {
  const int m = options().num_vectors;
  solved_ = Solved();
  solved_.gram = std::move(gram);
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
  next_direction_ = nullptr;
  if (columns_ && MustKeep(direction_position())) {
    absl::StatusOr<VectorHandle> vector = TakeVector();
    if (!vector.ok()) return vector.status();
    next_direction_ = *std::move(vector);
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
    pass.kept_direction =
        next_direction_ != nullptr ? next_direction_->data() : kept_.front();
  } else {
    pass.commit.rows = solved_.vectors;
    pass.commit.direction = solved_.coefficients;
  }
  CompletePass(&pass);
  return pass;
}

void MomentaOperator::Switch(absl::Span<Staging::Row* const> rows) {
  SwitchOwn(rows);
  if (solved_.live && next_direction_ != nullptr) {
    Replace(direction_position(), std::move(next_direction_));
  }
  OnVectors();
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

absl::Status MomentaOperator::RetakeGram() {
  absl::Status status = CheckUsable();
  if (status.ok() && !staging_.empty()) {
    status = absl::FailedPreconditionError(
        "the Gram matrix is taken anew between steps, not while rows are "
        "staged");
  }
  if (!status.ok()) return status;
  absl::StatusOr<Eigen::MatrixXd> gram =
      GramOf(committed_rows(), options().dtype, options().num_parameters,
             kernels_.get());
  if (!gram.ok()) return gram.status();
  gram_ = *std::move(gram);
  return absl::OkStatus();
}

OperatorNumbers MomentaOperator::Numbers() const {
  OperatorNumbers numbers;
  numbers.gram = gram_;
  numbers.updates = updates_;
  numbers.last_updates = last_updates_;
  numbers.live_steps = live_steps_;
  numbers.coefficients = coefficients_;
  NumbersOwn(&numbers);
  return numbers;
}

OperatorNumbers MomentaOperator::InitialNumbers() const {
  const int m = options().num_vectors;
  OperatorNumbers numbers;
  numbers.gram = Eigen::MatrixXd::Zero(m, m);
  numbers.updates.assign(m, 0);
  numbers.last_updates.assign(m, 0);
  numbers.coefficients.assign(m, 0.0);
  NumbersOwn(&numbers);
  return numbers;
}

bool MomentaOperator::Fits(const OperatorNumbers& numbers) const {
  const size_t m = options().num_vectors;
  return numbers.gram.rows() == static_cast<Eigen::Index>(m) &&
         numbers.gram.cols() == static_cast<Eigen::Index>(m) &&
         numbers.updates.size() == m && numbers.last_updates.size() == m &&
         numbers.coefficients.size() == m && FitsOwn(numbers);
}

void MomentaOperator::SetNumbers(const OperatorNumbers& numbers) {
  gram_ = numbers.gram;
  updates_ = numbers.updates;
  last_updates_ = numbers.last_updates;
  live_steps_ = numbers.live_steps;
  coefficients_ = numbers.coefficients;
  SetNumbersOwn(numbers);
}

}  // namespace concord
