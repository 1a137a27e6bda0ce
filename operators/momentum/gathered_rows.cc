#include "operators/momentum/gathered_rows.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <tuple>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/finite.h"
#include "operators/momentum/largest_norm.h"
#include "operators/momentum/row_passes.h"
#include "operators/momentum/staged_operator.h"

namespace concord {
namespace {

// Of weights that may be as large as doubles are.
std::vector<double> Shares(std::vector<double> weights) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  if (!std::isfinite(sum)) {
    constexpr double kSmaller = 0x1p-32;
    sum = 0;
    for (double& weight : weights) sum += weight *= kSmaller;
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

GatheredRows::GatheredRows(MomentumOperator* op, Kernels* kernels, bool lends)
    : op_(op),
      kernels_(kernels),
      dtype_(op->options().dtype),
      num_parameters_(op->options().num_parameters),
      blocks_((num_parameters_ + kernels->block_elements() - 1) /
              kernels->block_elements()),
      slots_(lends ? MaxVectorsPerStep(op->options()) : 0, -1) {}

size_t GatheredRows::VectorBytes() const {
  return num_parameters_ * SizeOf(dtype_);
}

size_t GatheredRows::PieceElements() const {
  return kernels_->host_accessible() ? kernels_->block_elements()
                                     : kernels_->pass_elements();
}

size_t GatheredRows::PieceBytes() const {
  return PieceElements() * SizeOf(dtype_);
}

size_t GatheredRows::MemoryBytes(const OperatorOptions& options, size_t rows) {
  return rows * VectorStride(options);
}

absl::Status GatheredRows::AddMemory(size_t rows) {
  if (rows == 0) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
      kernels_->Allocate(MemoryBytes(op_->options(), rows));
  if (!memory.ok()) return memory.status();
  for (size_t i = 0; i < rows; ++i) {
    free_.push_back(
        Advance((*memory)->data(), i * VectorStride(op_->options())));
  }
  memory_.push_back(*std::move(memory));
  return absl::OkStatus();
}

bool GatheredRows::empty() const {
  return std::all_of(rows_.begin(), rows_.end(),
                     [](const auto& row) { return row->index_ < 0; });
}

int GatheredRows::SlotOf(int index) const {
  const auto found = std::find(slots_.begin(), slots_.end(), index);
  return found == slots_.end() ? -1 : static_cast<int>(found - slots_.begin());
}

absl::StatusOr<GatheredRows::Row*> GatheredRows::Open(int index,
                                                      uint32_t rank) {
  int slot = SlotOf(index);
  const bool is_new = slot < 0;
  if (is_new) slot = SlotOf(-1);
  const bool is_taken =
      slot < 0 ||
      std::any_of(rows_.begin(), rows_.end(), [slot](const auto& row) {
        return row->index_ >= 0 && row->slot_ == slot;
      });
  void* memory = nullptr;
  if (!is_taken) {
    const absl::StatusOr<void*> lent = op_->Lend(slot);
    if (!lent.ok()) return lent.status();
    memory = *lent;
  } else if (!free_.empty()) {
    memory = free_.back();
    free_.pop_back();
  } else {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory is left for another vector of loss ", index));
  }
  auto unused = std::find_if(rows_.begin(), rows_.end(),
                             [](const auto& row) { return row->index_ < 0; });
  if (unused == rows_.end()) {
    rows_.push_back(std::make_unique<Row>());
    unused = std::prev(rows_.end());
  }
  Row* const row = unused->get();
  if (is_new && slot >= 0) slots_[slot] = index;
  row->index_ = index;
  row->rank_ = rank;
  row->weight_ = 1;
  row->complete_ = false;
  row->adds_ = false;
  row->received_ = 0;
  row->memory_ = memory;
  row->slot_ = is_taken ? -1 : slot;
  row->squares_.assign(blocks_, 0.0);
  return row;
}

void GatheredRows::Drop(Row* row) {
  if (row->index_ < 0) return;
  const int index = std::exchange(row->index_, -1);
  if (row->slot_ < 0) free_.push_back(row->memory_);
  const bool has_more = std::any_of(
      rows_.begin(), rows_.end(),
      [index](const auto& other) { return other->index_ == index; });
  const int slot = SlotOf(index);
  if (!has_more && slot >= 0) slots_[slot] = -1;
}

absl::Status GatheredRows::Add(Row* row) {
  if (row->arriving_ == nullptr) {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        kernels_->Allocate(PieceBytes());
    if (!memory.ok()) return memory.status();
    row->arriving_ = *std::move(memory);
  }
  row->adds_ = true;
  row->complete_ = false;
  row->received_ = 0;
  return absl::OkStatus();
}

absl::Status GatheredRows::FinishPiece(Row* row, size_t piece) {
  const size_t first = piece * PieceElements();
  const size_t count = std::min(PieceElements(), num_parameters_ - first);
  void* const place = Advance(row->memory_, piece * PieceBytes());
  if (row->adds_) {
    // In fp64 and rounded once: what an addition in either type gives.
    const void* const summands[] = {place, row->arriving_->data()};
    const double ones[] = {1, 1};
    CommitPass sum;
    sum.dtype = dtype_;
    sum.count = count;
    sum.rows = summands;
    sum.direction = ones;
    sum.update = place;
    const absl::Status status = kernels_->Commit(sum);
    if (!status.ok()) return status;
  }
  IngestPass square;
  square.dtype = dtype_;
  square.count = count;
  square.gradient = place;
  square.dots = &row->squares_[first / kernels_->block_elements()];
  return kernels_->Ingest(square);
}

absl::Status GatheredRows::Append(Row* row, absl::Span<const std::byte> bytes) {
  if (bytes.size() > VectorBytes() - row->received_) {
    return InvalidField("CHUNK_TOO_LARGE", "vector length",
                        absl::StrCat(row->received_ + bytes.size(), " bytes"),
                        absl::StrCat(VectorBytes(), " bytes"));
  }
  while (!bytes.empty()) {
    const size_t piece = row->received_ / PieceBytes();
    const size_t room =
        std::min((piece + 1) * PieceBytes(), VectorBytes()) - row->received_;
    const size_t count = std::min(room, bytes.size());
    void* const to = row->adds_ ? Advance(row->arriving_->data(),
                                          row->received_ % PieceBytes())
                                : Advance(row->memory_, row->received_);
    absl::Status status = kernels_->CopyFromHost(to, bytes.data(), count);
    if (!status.ok()) return status;
    row->received_ += count;
    bytes.remove_prefix(count);
    if (count == room) {
      status = FinishPiece(row, piece);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status GatheredRows::Complete(Row* row) {
  if (row->received_ != VectorBytes()) {
    return InvalidField("LENGTH_MISMATCH", "vector length",
                        absl::StrCat(row->received_, " bytes"),
                        absl::StrCat(VectorBytes(), " bytes"));
  }
  absl::Status status =
      CheckFinite({row->index_, dtype_, num_parameters_, row->memory_},
                  row->squares_, kernels_);
  if (status.ok() && std::holds_alternative<SeparateMomentumOptions>(
                         op_->options().momentum)) {
    double square = 0;
    for (const double part : row->squares_) square += part;
    status = CheckNorm(absl::StrCat("vector ", row->index_), "norm ",
                       std::sqrt(square), dtype_);
  }
  row->complete_ = status.ok();
  return status;
}

absl::Status GatheredRows::Average(absl::Span<Row* const> rows) {
  std::vector<const void*> vectors;
  std::vector<double> weights;
  for (const Row* row : rows) {
    vectors.push_back(row->memory_);
    weights.push_back(row->weight_);
  }
  const std::vector<double> shares = Shares(std::move(weights));
  CommitPass pass;
  pass.dtype = dtype_;
  pass.count = num_parameters_;
  pass.rows = vectors;
  pass.direction = shares;
  pass.update = rows.front()->memory_;
  return kernels_->Commit(pass);
}

absl::Status GatheredRows::Ingest() {
  std::vector<Row*> rows;
  for (const auto& row : rows_) {
    if (row->index_ < 0) continue;
    if (!row->complete_) {
      return absl::InternalError(absl::StrCat(
          "vector ", row->index_, " is gathered but not complete at the end"));
    }
    rows.push_back(row.get());
  }
  if (rows.empty()) return absl::OkStatus();
  // Losses in the order of their staged rows: the operator stages them from the
  // first on, so that none is written over another one's gradient.
  std::sort(rows.begin(), rows.end(), [this](const Row* a, const Row* b) {
    return std::make_tuple(SlotOf(a->index_), a->index_, a->rank_) <
           std::make_tuple(SlotOf(b->index_), b->index_, b->rank_);
  });
  std::vector<int> indexes;
  std::vector<const void*> gradients;
  absl::Status status;
  for (auto begin = rows.begin(); begin != rows.end() && status.ok();) {
    const auto end = std::find_if(begin, rows.end(), [&](const Row* row) {
      return row->index_ != (*begin)->index_;
    });
    if (end - begin > 1) status = Average({&*begin, size_t(end - begin)});
    indexes.push_back((*begin)->index_);
    gradients.push_back((*begin)->memory_);
    begin = end;
  }
  if (status.ok()) status = op_->Ingest(indexes, gradients);
  for (Row* row : rows) Drop(row);
  return status;
}

}  // namespace concord
