#include "operators/momentum/staged_operator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "operators/combine/gram.h"
#include "operators/errors.h"

namespace concord {
namespace {

Staging::Shape ShapeOf(const OperatorOptions& options, double beta_1,
                       double beta_2) {
  return {options.dtype,
          options.num_parameters,
          options.num_vectors,
          MaxVectorsPerStep(options),
          beta_1,
          beta_2,
          std::holds_alternative<SeparateMomentumOptions>(options.momentum)};
}

absl::Status Immutable(const char* field, const char* accepted) {
  return InvalidField("IMMUTABLE_OPTION", field, "another value", accepted);
}

// The betas of the operators that have them; 0 for "none".
std::pair<double, double> Betas(const MomentumOptions& options) {
  if (const auto* pseudo = std::get_if<PseudoMomentumOptions>(&options)) {
    return {pseudo->beta_1, pseudo->beta_2};
  }
  if (const auto* separate = std::get_if<SeparateMomentumOptions>(&options)) {
    return {separate->beta_1, separate->beta_2};
  }
  return {0, 0};
}

// `gram` with the entries of `rows` as `products` has them.
Eigen::MatrixXd WithProducts(const Eigen::MatrixXd& gram,
                             absl::Span<Staging::Row* const> rows,
                             const Eigen::MatrixXd& products) {
  Eigen::MatrixXd result = gram;
  for (const Staging::Row* row : rows) {
    result.row(row->index()) = products.row(row->index());
    result.col(row->index()) = products.row(row->index());
  }
  return result;
}

// What Reconfigure cannot change.
absl::Status CheckMutable(const OperatorOptions& from,
                          const OperatorOptions& to) {
  constexpr char kFixed[] = "the value given at creation";
  if (to.num_vectors != from.num_vectors) {
    return Immutable("num_vectors", kFixed);
  }
  if (to.num_parameters != from.num_parameters) {
    return Immutable("num_parameters", kFixed);
  }
  if (to.dtype != from.dtype) return Immutable("data_type", kFixed);
  if (MaxVectorsPerStep(to) != MaxVectorsPerStep(from)) {
    return Immutable("max_vectors_per_step", kFixed);
  }
  if (to.momentum.index() != from.momentum.index()) {
    return Immutable("momentum", "the operator given at creation");
  }
  if (to.sharded != from.sharded) return Immutable("sharded", kFixed);
  const bool same_recorder =
      to.loss_recorder.has_value() == from.loss_recorder.has_value() &&
      (!to.loss_recorder.has_value() ||
       to.loss_recorder->index() == from.loss_recorder->index());
  if (!same_recorder) {
    return Immutable("loss_recorder", "the recorder given at creation");
  }
  return absl::OkStatus();
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
                               double beta_2, OperatorParts parts)
    : kernels_(std::move(parts.kernels)),
      combiner_(std::move(parts.combiner)),
      staging_(ShapeOf(options, beta_1, beta_2), kernels_.get()),
      passes_(options.dtype, options.num_parameters, options.num_vectors,
              kernels_.get()),
      recorder_(std::move(parts.recorder)),
      options_(options) {}

absl::Status StagedOperator::Open(OperatorStorage storage) {
  keeps_committed_ = storage.keeps_committed;
  if (storage.vectors == nullptr) {
    storage.vectors = DeviceVectors(kernels_, VectorStride(options_));
  }
  pool_ = VectorPool::Make(std::move(storage.vectors),
                           SourceVectors(options_, keeps_committed_));
  const size_t count = VectorNames().size();
  StoredState stored;
  if (storage.stored.has_value()) {
    stored = *std::move(storage.stored);
    const absl::Status status = CheckFits(stored.numbers, stored.places.size());
    if (!status.ok()) return status;
  } else {
    stored.numbers = InitialNumbers();
    if (recorder_ != nullptr) stored.numbers.recorder = recorder_->State();
  }
  absl::StatusOr<std::unique_ptr<LossRecorder>> recorder =
      RestoredRecorder(stored.numbers);
  if (!recorder.ok()) return recorder.status();
  std::vector<VectorHandle> vectors;
  for (size_t i = 0; i < count; ++i) {
    absl::StatusOr<VectorHandle> vector =
        stored.places.empty() ? pool_->Take() : pool_->Claim(stored.places[i]);
    if (!vector.ok()) return vector.status();
    vectors.push_back(*std::move(vector));
  }
  const absl::Status status = pool_->Fill();
  if (!status.ok()) return status;
  Restore(stored.numbers, *std::move(recorder), std::move(vectors));
  return absl::OkStatus();
}

absl::Status StagedOperator::CheckReconfigure(
    const OperatorOptions& options) const {
  absl::Status status = CheckUsable();
  if (status.ok()) status = Validate(options);
  if (status.ok()) status = CheckMutable(options_, options);
  if (!status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(options.combiner, options.num_vectors);
  if (!combiner.ok()) return combiner.status();
  if ((*combiner)->works_on_columns() != combiner_->works_on_columns()) {
    return Immutable("combiner",
                     combiner_->works_on_columns()
                         ? "a combiner that works on columns, too"
                         : "a combiner with coefficients, not one on columns");
  }
  return absl::OkStatus();
}

absl::Status StagedOperator::Reconfigure(const OperatorOptions& options) {
  absl::Status status = CheckReconfigure(options);
  if (!status.ok()) return status;
  if (!staging_.empty()) {
    return absl::FailedPreconditionError(
        "options change between steps, not while rows are staged");
  }
  absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(options.combiner, options.num_vectors);
  if (!combiner.ok()) return combiner.status();
  std::unique_ptr<LossRecorder> recorder;
  if (recorder_ != nullptr) {
    absl::StatusOr<std::unique_ptr<LossRecorder>> made =
        MakeLossRecorder(*options.loss_recorder, options.num_vectors);
    if (made.ok()) status = (*made)->Restore(recorder_->State());
    if (!made.ok() || !status.ok()) return made.ok() ? status : made.status();
    recorder = *std::move(made);
  }
  Reset();
  if (!KeepsState(options_.combiner, options.combiner)) {
    combiner_state_.clear();
  }
  combiner_ = *std::move(combiner);
  recorder_ = std::move(recorder);
  const auto [beta_1, beta_2] = Betas(options.momentum);
  staging_.SetBetas(beta_1, beta_2);
  options_ = options;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LossRecorder>> StagedOperator::RestoredRecorder(
    const OperatorNumbers& numbers) const {
  if (recorder_ == nullptr) return nullptr;
  std::unique_ptr<LossRecorder> recorder = recorder_->Clone();
  const absl::Status status = recorder->Restore(numbers.recorder);
  if (!status.ok()) return status;
  return recorder;
}

absl::Status StagedOperator::CheckUsable() const {
  if (!broken_) return absl::OkStatus();
  return absl::InternalError(
      "the operator's state was lost when its device failed inside a commit");
}

absl::Status StagedOperator::CheckFits(const OperatorNumbers& numbers,
                                       size_t vectors) const {
  const size_t expected = VectorNames().size();
  if (vectors == expected && Fits(numbers)) return absl::OkStatus();
  return InvalidField(
      "INVALID_OPTION", "state", "sizes of another operator's state",
      absl::StrCat(expected, " vectors of ", options_.num_parameters, " ",
                   Name(options_.dtype), " elements"));
}

void StagedOperator::Restore(const OperatorNumbers& numbers,
                             std::unique_ptr<LossRecorder> recorder,
                             std::vector<VectorHandle> vectors) {
  Reset();
  retired_.insert(retired_.end(), std::make_move_iterator(held_.begin()),
                  std::make_move_iterator(held_.end()));
  held_ = std::move(vectors);
  in_snapshot_.assign(held_.size(), false);
  committed_steps_ = numbers.committed_steps;
  combiner_state_ = numbers.combiner;
  recorder_ = std::move(recorder);
  committed_.reset();
  OnVectors();
  SetNumbers(numbers);
}

void StagedOperator::Replace(size_t position, VectorHandle vector) {
  std::swap(held_[position], vector);
  in_snapshot_[position] = false;
  retired_.push_back(std::move(vector));
}

absl::StatusOr<OperatorSnapshot> StagedOperator::Snapshot() {
  const absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  OperatorSnapshot snapshot;
  snapshot.numbers = Stored().numbers;
  const std::vector<std::string> names = VectorNames();
  for (size_t i = 0; i < held_.size(); ++i) {
    snapshot.vectors.push_back({names[i], held_[i]});
    in_snapshot_[i] = true;
  }
  return snapshot;
}

StoredState StagedOperator::Stored() const {
  StoredState stored;
  stored.numbers = Numbers();
  stored.numbers.committed_steps = committed_steps_;
  stored.numbers.combiner = combiner_state_;
  if (recorder_ != nullptr) stored.numbers.recorder = recorder_->State();
  for (const VectorHandle& vector : held_) {
    stored.places.push_back(vector->place());
  }
  return stored;
}

absl::StatusOr<OperatorState> StagedOperator::Export() const {
  absl::Status status = CheckUsable();
  OperatorState state;
  static_cast<OperatorNumbers&>(state) = Stored().numbers;
  const std::vector<std::string> names = VectorNames();
  for (size_t i = 0; i < held_.size() && status.ok(); ++i) {
    std::vector<std::byte> bytes(VectorBytes());
    status = kernels_->CopyToHost(bytes.data(), held_[i]->data(), bytes.size());
    (absl::StartsWith(names[i], "momentum.") ? state.momenta : state.others)
        .push_back(std::move(bytes));
  }
  if (!status.ok()) return status;
  return state;
}

absl::Status StagedOperator::Import(
    const OperatorNumbers& numbers,
    absl::Span<const absl::Span<const std::byte>> vectors) {
  for (const absl::Span<const std::byte> vector : vectors) {
    if (vector.size() != VectorBytes()) {
      return InvalidField("INVALID_OPTION", "state",
                          absl::StrCat("a vector of ", vector.size(), " bytes"),
                          absl::StrCat(VectorBytes(), " bytes"));
    }
  }
  return Fill(numbers, vectors.size(), [&](size_t position, void* memory) {
    return kernels_->CopyFromHost(memory, vectors[position].data(),
                                  vectors[position].size());
  });
}

absl::Status StagedOperator::Fill(
    const OperatorNumbers& numbers, size_t vectors,
    absl::FunctionRef<absl::Status(size_t position, void* memory)> fill) {
  absl::Status status = CheckUsable();
  if (status.ok()) status = CheckFits(numbers, vectors);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<LossRecorder>> recorder =
      RestoredRecorder(numbers);
  if (!recorder.ok()) return recorder.status();
  // Beside the committed ones, so that a failure changes nothing.
  std::vector<VectorHandle> taken;
  for (size_t position = 0; position < vectors; ++position) {
    absl::StatusOr<VectorHandle> next = pool_->Take();
    if (!next.ok()) return next.status();
    status = fill(position, (*next)->data());
    if (!status.ok()) return status;
    taken.push_back(*std::move(next));
  }
  Restore(numbers, *std::move(recorder), std::move(taken));
  return absl::OkStatus();
}

absl::Status StagedOperator::BeginStep() {
  const absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  retired_.clear();
  return FillSlots();
}

absl::StatusOr<MomentumOperator::StagedRow*> StagedOperator::Stage(int index) {
  absl::Status status = BeginStep();
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
                                    absl::Span<const void* const> gradients,
                                    std::optional<HalfType> gradient_type) {
  if (gradient_type.has_value() && options_.dtype != Dtype::kFloat32) {
    return InvalidField("DATA_TYPE_MISMATCH", "gradients", "16 bits",
                        Name(options_.dtype));
  }
  absl::Status status = BeginStep();
  if (!status.ok()) return status;
  return staging_.Ingest(indexes, gradients, gradient_type, committed_rows());
}

absl::StatusOr<void*> StagedOperator::Lend(int position) {
  const absl::Status status = BeginStep();
  if (!status.ok()) return status;
  return staging_.memory(position);
}

void StagedOperator::Reset() {
  staging_.Reset();
  solution_.reset();
  solved_rows_.clear();
  next_recorder_.reset();
}

absl::StatusOr<std::vector<Staging::Row*>> StagedOperator::StepRows() {
  absl::StatusOr<std::vector<Staging::Row*>> rows = staging_.CompleteRows();
  if (rows.ok() && rows->empty()) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"EMPTY_ROUND",
                      "vectors",
                      "none",
                      "at least one vector in a step",
                      {}});
  }
  return rows;
}

absl::StatusOr<Eigen::MatrixXd> StagedOperator::Products() {
  const absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  const absl::StatusOr<std::vector<Staging::Row*>> rows = StepRows();
  if (!rows.ok()) return rows.status();
  const int m = options_.num_vectors;
  return staging_.Gram(*rows, committed_rows(), Eigen::MatrixXd::Zero(m, m));
}

absl::Status StagedOperator::CheckProducts(
    const Eigen::MatrixXd* products) const {
  if ((products != nullptr) != options_.sharded) {
    return InvalidField(
        "INVALID_OPTION", "products", options_.sharded ? "none" : "given",
        options_.sharded ? "the sum of all parts' products, as the operator is "
                           "sharded"
                         : "none, as the operator is not sharded");
  }
  if (products == nullptr) return absl::OkStatus();
  const int m = options_.num_vectors;
  if (products->rows() != m || products->cols() != m) {
    return InvalidField("INVALID_MATRIX", "products",
                        absl::StrCat(products->rows(), " x ", products->cols()),
                        absl::StrCat(m, " x ", m));
  }
  return ValidateGram(*products);
}

absl::Status StagedOperator::Solve(absl::Span<const int> loss_indexes,
                                   absl::Span<const double> losses,
                                   absl::Span<const int> active,
                                   const Eigen::MatrixXd* products) {
  absl::Status status = CheckUsable();
  if (status.ok()) status = ValidateActive(active, options_.num_vectors);
  if (status.ok()) status = CheckProducts(products);
  if (!status.ok()) return status;
  solution_.reset();
  absl::StatusOr<std::vector<Staging::Row*>> rows = StepRows();
  if (!rows.ok()) return rows.status();
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
  absl::StatusOr<Eigen::MatrixXd> gram =
      products == nullptr
          ? staging_.Gram(*rows, committed_rows(), committed_gram())
          : WithProducts(committed_gram(), *rows, *products);
  if (!gram.ok()) return gram.status();
  status =
      SolveRows(*rows, *std::move(gram), solution.losses, active, &solution);
  if (!status.ok()) return status;
  solution.cosines = Cosines(solution.gram);
  if (!combiner_->works_on_columns()) {
    solution.direction_cosines =
        DirectionCosines(solution.gram, solution.combination.coefficients);
  }
  solution_ = std::move(solution);
  solved_rows_ = *std::move(rows);
  return absl::OkStatus();
}

void StagedOperator::FillCosines(const UpdatePass& pass,
                                 const UpdateDots& dots) {
  // In warm-up the pass has no rows: the update is zero and so are these.
  const auto fill = [&](const std::vector<double>& products,
                        std::vector<double>* cosines) {
    cosines->assign(solution_->indexes.size(), 0.0);
    for (size_t i = 0; i < pass.commit.rows.size(); ++i) {
      const size_t position = pass.positions.empty() ? i : pass.positions[i];
      const double norm = std::sqrt(RowSquare(position));
      if (products[0] > 0 && norm > 0) {
        (*cosines)[position] = products[1 + i] / std::sqrt(products[0]) / norm;
      }
    }
  };
  fill(dots.update, &solution_->update_cosines);
  if (pass.rule == nullptr) return;
  fill(dots.direction, &solution_->direction_cosines);
  solution_->combination.length = std::sqrt(dots.direction[0]);
}

absl::Status StagedOperator::Commit(void* update, bool with_update_cosines,
                                    absl::FunctionRef<void(size_t)> progress) {
  absl::Status status = CheckUsable();
  if (!status.ok()) return status;
  if (!solution_.has_value()) {
    return absl::FailedPreconditionError("Commit without a solved step");
  }
  if (with_update_cosines && options_.sharded) {
    return InvalidField("INVALID_OPTION", "update_cosines", "true",
                        "false where the operator is sharded: the update's "
                        "products are not summed over the parts");
  }
  UpdatePass pass = PassOfSolved();
  pass.commit.update = update;
  UpdateDots dots;
  status = passes_.Run(pass, with_update_cosines ? &dots : nullptr, progress);
  if (!status.ok()) {
    broken_ = true;
    return status;
  }
  if (with_update_cosines) FillCosines(pass, dots);
  Switch(solved_rows_);
  if (recorder_ != nullptr) recorder_ = std::move(next_recorder_);
  combiner_state_ = solution_->combination.state;
  ++committed_steps_;
  committed_ = std::move(solution_);
  Reset();
  return absl::OkStatus();
}

}  // namespace concord
