#include "operators/momentum/staged_operator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "operators/errors.h"

namespace concord {
namespace {

// Bytes of the update that are computed between two calls of `progress`: one
// message's worth.
constexpr size_t kProgressBytes = size_t{1} << 20;

template <class Pointer>
Pointer* Advance(Pointer* base, size_t bytes) {
  using Byte =
      std::conditional_t<std::is_const_v<Pointer>, const std::byte, std::byte>;
  return base == nullptr
             ? nullptr
             : static_cast<Pointer*>(static_cast<Byte*>(base) + bytes);
}

void AdvanceAll(absl::Span<const void* const> rows, size_t bytes,
                std::vector<const void*>* moved) {
  moved->clear();
  for (const void* row : rows) moved->push_back(Advance(row, bytes));
}

Staging::Shape ShapeOf(const OperatorOptions& options, double beta_1) {
  return {options.dtype, options.num_parameters, options.num_vectors,
          MaxVectorsPerStep(options), beta_1};
}

}  // namespace

int MaxVectorsPerStep(const OperatorOptions& options) {
  return options.max_vectors_per_step == 0 ? options.num_vectors
                                           : options.max_vectors_per_step;
}

size_t VectorStride(const OperatorOptions& options) {
  const size_t bytes = options.num_parameters * SizeOf(options.dtype);
  return (bytes + kVectorAlignment - 1) / kVectorAlignment * kVectorAlignment;
}

std::vector<double> DirectionCosines(const Eigen::MatrixXd& gram,
                                     absl::Span<const double> coefficients) {
  const Eigen::Map<const Eigen::VectorXd> c(coefficients.data(),
                                            coefficients.size());
  const Eigen::VectorXd projections = gram * c;
  const double length = std::sqrt(std::max(0.0, c.dot(projections)));
  std::vector<double> cosines(coefficients.size(), 0.0);
  for (size_t i = 0; i < cosines.size(); ++i) {
    const double norm = std::sqrt(gram(i, i));
    if (norm > 0 && length > 0) cosines[i] = projections[i] / length / norm;
  }
  return cosines;
}

StagedOperator::StagedOperator(const OperatorOptions& options, double beta_1,
                               std::shared_ptr<Kernels> kernels,
                               std::unique_ptr<Combiner> combiner,
                               std::unique_ptr<LossRecorder> recorder)
    : options_(options),
      kernels_(std::move(kernels)),
      combiner_(std::move(combiner)),
      staging_(ShapeOf(options, beta_1), kernels_.get()),
      recorder_(std::move(recorder)) {}

absl::Status StagedOperator::CheckUsable() const {
  if (!broken_) return absl::OkStatus();
  return absl::InternalError(
      "the operator's state was lost when its device failed inside a commit");
}

absl::StatusOr<MomentumOperator::StagedRow*> StagedOperator::Stage(int index) {
  absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  const absl::StatusOr<Staging::Row*> row = staging_.Stage(index);
  if (!row.ok()) return row.status();
  return static_cast<StagedRow*>(*row);
}

void StagedOperator::Drop(StagedRow* row) {
  staging_.Drop(static_cast<Staging::Row*>(row));
}

absl::Status StagedOperator::Append(StagedRow* row,
                                    absl::Span<const std::byte> bytes) {
  return staging_.Append(static_cast<Staging::Row*>(row), bytes,
                         committed_rows());
}

absl::Status StagedOperator::Complete(StagedRow* row) {
  return staging_.Complete(static_cast<Staging::Row*>(row), committed_rows());
}

absl::Status StagedOperator::Ingest(absl::Span<const int> indexes,
                                    absl::Span<const void* const> gradients) {
  absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  return staging_.Ingest(indexes, gradients, committed_rows());
}

void StagedOperator::Reset() {
  staging_.Reset();
  solution_.reset();
  solved_rows_.clear();
  next_recorder_.reset();
}

absl::Status StagedOperator::Solve(absl::Span<const int> loss_indexes,
                                   absl::Span<const double> losses) {
  absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  solution_.reset();
  absl::StatusOr<std::vector<Staging::Row*>> rows = staging_.CompleteRows();
  if (!rows.ok()) return rows.status();
  if (rows->empty()) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"EMPTY_ROUND",
                      "vectors",
                      "none",
                      "at least one vector in a step",
                      {}});
  }
  next_recorder_.reset();
  if (recorder_ != nullptr) {
    next_recorder_ = recorder_->Clone();
    status = next_recorder_->Record(loss_indexes, losses);
    if (!status.ok()) return status;
  } else if (!losses.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"LOSSES_WITHOUT_RECORDER",
                      "losses",
                      std::to_string(losses.size()) + " values",
                      "no losses, or an operator with a loss recorder",
                      {}});
  }
  StepSolution solution;
  if (next_recorder_ != nullptr) solution.losses = next_recorder_->losses();
  status = SolveRows(*rows, solution.losses, &solution);
  if (!status.ok()) return status;
  solution.cosines = Cosines(solution.gram);
  solution.direction_cosines =
      DirectionCosines(solution.gram, solution.combination.coefficients);
  solution_ = std::move(solution);
  solved_rows_ = *std::move(rows);
  return absl::OkStatus();
}

absl::Status StagedOperator::RunPass(
    const CommitPass& pass, bool with_dots, std::vector<double>* dots,
    absl::FunctionRef<void(size_t)> progress) const {
  const size_t n = options_.num_parameters;
  const size_t element = SizeOf(options_.dtype);
  const size_t block = kernels_->block_elements();
  const size_t width = pass.rows.size() + 1;
  const size_t range =
      std::max<size_t>(1, kProgressBytes / element / block) * block;
  std::vector<double> partial;
  if (with_dots) {
    dots->assign(width, 0.0);
    partial.resize((std::min(range, n) + block - 1) / block * width);
  }
  std::vector<const void*> rows, previous;
  CommitPass part = pass;
  part.dtype = options_.dtype;
  part.update_dots = with_dots ? partial.data() : nullptr;
  for (size_t begin = 0; begin < n; begin += range) {
    const size_t bytes = begin * element;
    part.count = std::min(range, n - begin);
    if (begin > 0) {
      AdvanceAll(pass.rows, bytes, &rows);
      AdvanceAll(pass.previous_rows, bytes, &previous);
      part.rows = rows;
      part.previous_rows = previous;
      part.second = Advance(pass.second, bytes);
      part.update = Advance(pass.update, bytes);
    }
    const absl::Status status = kernels_->Commit(part);
    if (!status.ok()) return status;
    if (with_dots) {
      const size_t blocks = (part.count + block - 1) / block;
      for (size_t b = 0; b < blocks; ++b) {
        for (size_t j = 0; j < width; ++j) (*dots)[j] += partial[b * width + j];
      }
    }
    progress(begin + part.count);
  }
  return absl::OkStatus();
}

absl::Status StagedOperator::Commit(void* update, bool with_update_cosines,
                                    absl::FunctionRef<void(size_t)> progress) {
  absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  if (!solution_.has_value()) {
    return absl::FailedPreconditionError("Commit without a solved step");
  }
  CommitPass pass = PassOfSolved();
  pass.update = update;
  std::vector<double> dots;
  status = RunPass(pass, with_update_cosines, &dots, progress);
  if (!status.ok()) {
    broken_ = true;
    return status;
  }
  if (with_update_cosines) {
    // In warm-up the pass has no rows: the update is zero and so are these.
    const size_t count = solution_->indexes.size();
    solution_->update_cosines.assign(count, 0.0);
    for (size_t i = 0; i < count && i + 1 < dots.size(); ++i) {
      const double norm = std::sqrt(PassRowSquare(i));
      if (dots[0] > 0 && norm > 0) {
        solution_->update_cosines[i] = dots[1 + i] / std::sqrt(dots[0]) / norm;
      }
    }
  }
  Switch(solved_rows_);
  if (recorder_ != nullptr) recorder_ = std::move(next_recorder_);
  combiner_state_ = solution_->combination.state;
  ++committed_steps_;
  committed_ = std::move(solution_);
  Reset();
  return absl::OkStatus();
}

}  // namespace concord
