#include "operators/momentum/staging.h"

#include <algorithm>
#include <cmath>

#include "absl/container/fixed_array.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/finite.h"
#include "operators/momentum/largest_norm.h"

namespace concord {
namespace {

// Blocks of several rows that are ingested in turn stay in the cache together:
// the second row's dot products find the first row there.
constexpr size_t kBlocksTogether = 8;

}  // namespace

Staging::Staging(const Shape& shape, Kernels* kernels)
    : shape_(shape),
      kernels_(kernels),
      blocks_((shape.num_parameters + kernels->block_elements() - 1) /
              kernels->block_elements()),
      next_(shape.num_vectors) {
  for (int slot = 0; slot < shape.max_rows; ++slot) {
    auto row = std::make_unique<Row>();
    row->slot_ = slot;
    row->self_.assign(blocks_, 0.0);
    row->committed_.assign(shape.num_vectors, std::vector<double>(blocks_));
    row->has_committed_.assign(shape.num_vectors,
                               std::vector<uint8_t>(blocks_));
    row->staged_.assign(shape.max_rows, std::vector<double>(blocks_));
    row->staged_id_.assign(shape.max_rows, std::vector<uint32_t>(blocks_));
    if (shape.separate) row->gradient_.assign(blocks_, 0.0);
    slots_.push_back(std::move(row));
  }
}

double Staging::Row::gradient_square() const {
  double sum = 0;
  for (const double part : gradient_) sum += part;
  return sum;
}

void Staging::SetMemory(int slot, void* memory, void* second) {
  absl::MutexLock lock(&mutex_);
  slots_[slot]->memory_ = memory;
  slots_[slot]->second_memory_ = second;
}

void* Staging::memory(int slot) const {
  absl::MutexLock lock(&mutex_);
  return slots_[slot]->memory_;
}

absl::Status Staging::AllocateScratch() {
  absl::MutexLock lock(&mutex_);
  for (const auto& row : slots_) {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory = kernels_->Allocate(
        shape_.num_vectors * RowPasses::ScratchElements(*kernels_) *
        SizeOf(shape_.dtype));
    if (!memory.ok()) return memory.status();
    row->scratch_ = *std::move(memory);
  }
  return absl::OkStatus();
}

void Staging::SetNextScales(int index, double scale, double second_scale) {
  next_[index].scale = scale;
  next_[index].second_scale = second_scale;
}

void Staging::SetBetas(double beta_1, double beta_2) {
  shape_.beta_1 = beta_1;
  shape_.beta_2 = beta_2;
}

bool Staging::empty() const {
  absl::MutexLock lock(&mutex_);
  for (const auto& row : slots_) {
    if (row->index_ >= 0) return false;
  }
  return true;
}

size_t Staging::BlockBytes() const {
  return kernels_->block_elements() * SizeOf(shape_.dtype);
}

size_t Staging::VectorBytes() const {
  return shape_.num_parameters * SizeOf(shape_.dtype);
}

Staging::Row* Staging::Find(int index) {
  for (const auto& row : slots_) {
    if (row->index_ == index) return row.get();
  }
  return nullptr;
}

absl::StatusOr<Staging::Row*> Staging::Stage(int index) {
  absl::MutexLock lock(&mutex_);
  return StageLocked(index);
}

absl::StatusOr<Staging::Row*> Staging::StageLocked(int index) {
  if (index < 0 || index >= shape_.num_vectors) {
    return InvalidField("INDEX_OUT_OF_RANGE", "index", absl::StrCat(index),
                        absl::StrCat("0 … ", shape_.num_vectors - 1));
  }
  if (Find(index) != nullptr) {
    return InvalidField("DUPLICATE_INDEX", "index", absl::StrCat(index),
                        "every vector at most once per step");
  }
  Row* row = Find(-1);
  if (row == nullptr) {
    return InvalidField(
        "TOO_MANY_VECTORS", "index", absl::StrCat(index),
        absl::StrCat("at most ", shape_.max_rows, " vectors per step"));
  }
  row->index_ = index;
  row->id_ = ++last_id_ == 0 ? ++last_id_ : last_id_;
  row->complete_ = false;
  row->received_ = 0;
  row->vector_ = row->memory_;
  row->rescaling_ = next_[index];
  row->rescaling_.second = row->second_memory_;
  row->frontier_.store(0, std::memory_order_relaxed);
  for (auto& has : row->has_committed_) std::fill(has.begin(), has.end(), 0);
  for (auto& ids : row->staged_id_) std::fill(ids.begin(), ids.end(), 0);
  return row;
}

void Staging::Free(Row* row) { row->index_ = -1; }

void Staging::Drop(Row* row) {
  absl::MutexLock lock(&mutex_);
  Free(row);
}

void Staging::Reset() {
  absl::MutexLock lock(&mutex_);
  for (const auto& row : slots_) Free(row.get());
}

size_t Staging::BlocksInPlace(const Row& row, absl::Span<const std::byte> bytes,
                              const CommittedRows& committed) const {
  // Without momentum the row is the gradient, which must stay; with separate
  // ones the passes read it twice, which memory that a client may write to
  // meanwhile does not stand.
  if (committed.vectors.empty() || shape_.separate ||
      !kernels_->host_accessible() || row.received_ % BlockBytes() != 0 ||
      reinterpret_cast<uintptr_t>(bytes.data()) % SizeOf(shape_.dtype) != 0) {
    return 0;
  }
  const size_t blocks = bytes.size() == VectorBytes() - row.received_
                            ? blocks_ - row.received_ / BlockBytes()
                            : bytes.size() / BlockBytes();
  return std::min(blocks,
                  kBlocksTogether * static_cast<size_t>(kernels_->threads()));
}

absl::Status Staging::Append(Row* row, absl::Span<const std::byte> bytes,
                             CommittedRows committed) {
  if (bytes.size() > VectorBytes() - row->received_) {
    return InvalidField("CHUNK_TOO_LARGE", "vector length",
                        absl::StrCat(row->received_ + bytes.size(), " bytes"),
                        absl::StrCat(VectorBytes(), " bytes"));
  }
  if (!kernels_->host_accessible()) {
    return AppendOnDevice(row, bytes, committed);
  }
  while (!bytes.empty()) {
    const size_t block = row->received_ / BlockBytes();
    if (const size_t blocks = BlocksInPlace(*row, bytes, committed);
        blocks > 0) {
      const size_t size =
          std::min(blocks * BlockBytes(), VectorBytes() - row->received_);
      absl::ReaderMutexLock lock(&mutex_);
      const absl::Status status =
          IngestBlocks(row, {bytes.data()}, block, block + blocks, committed);
      if (!status.ok()) return status;
      row->received_ += size;
      bytes.remove_prefix(size);
      continue;
    }
    // A block goes into its place and is worked on at once, while it is in the
    // cache.
    const size_t room = (block + 1) * BlockBytes() - row->received_;
    const size_t count = std::min(room, bytes.size());
    absl::Status status = kernels_->CopyFromHost(
        static_cast<std::byte*>(row->memory_) + row->received_, bytes.data(),
        count);
    if (!status.ok()) return status;
    row->received_ += count;
    bytes.remove_prefix(count);
    if (count == room) {
      absl::ReaderMutexLock lock(&mutex_);
      status = IngestBlocks(row, {row->memory_}, block, block + 1, committed);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Staging::AppendOnDevice(Row* row,
                                     absl::Span<const std::byte> bytes,
                                     CommittedRows committed) {
  // All blocks that the bytes complete, in one pass.
  const size_t begin = row->received_ / BlockBytes();
  absl::Status status = kernels_->CopyFromHost(
      static_cast<std::byte*>(row->memory_) + row->received_, bytes.data(),
      bytes.size());
  if (!status.ok()) return status;
  row->received_ += bytes.size();
  const size_t end =
      row->received_ == VectorBytes() ? blocks_ : row->received_ / BlockBytes();
  if (end == begin) return absl::OkStatus();
  absl::ReaderMutexLock lock(&mutex_);
  return IngestBlocks(row, {row->memory_}, begin, end, committed);
}

absl::Status Staging::Complete(Row* row, CommittedRows committed) {
  if (row->received_ != VectorBytes()) {
    return InvalidField("LENGTH_MISMATCH", "vector length",
                        absl::StrCat(row->received_, " bytes"),
                        absl::StrCat(VectorBytes(), " bytes"));
  }
  if (row->frontier_.load(std::memory_order_relaxed) < blocks_) {
    absl::ReaderMutexLock lock(&mutex_);
    const absl::Status status =
        IngestBlocks(row, {row->memory_}, blocks_ - 1, blocks_, committed);
    if (!status.ok()) return status;
  }
  const absl::Status status = CheckFinite(*row);
  if (!status.ok()) return status;
  row->complete_ = true;
  return absl::OkStatus();
}

absl::Status Staging::Ingest(absl::Span<const int> indexes,
                             absl::Span<const void* const> gradients,
                             std::optional<HalfType> gradient_type,
                             CommittedRows committed) {
  if (indexes.size() != gradients.size()) {
    return InvalidField("LENGTH_MISMATCH", "gradients",
                        absl::StrCat(gradients.size(), " vectors"),
                        absl::StrCat(indexes.size(), ", one per index"));
  }
  std::vector<Row*> rows;
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < indexes.size() && status.ok(); ++i) {
      absl::StatusOr<Row*> row = StageLocked(indexes[i]);
      status = row.status();
      if (!status.ok()) break;
      rows.push_back(*row);
      // Without momentum the caller's memory is the row.
      if (committed.vectors.empty() && !gradient_type.has_value()) {
        (*row)->vector_ = gradients[i];
      }
    }
  }
  if (status.ok()) {
    const size_t together =
        rows.size() == 1 ? blocks_
        : kernels_->host_accessible()
            ? kBlocksTogether * static_cast<size_t>(kernels_->threads())
            : kernels_->pass_elements() / kernels_->block_elements();
    absl::ReaderMutexLock lock(&mutex_);
    for (size_t begin = 0; begin < blocks_ && status.ok(); begin += together) {
      const size_t end = std::min(begin + together, blocks_);
      for (size_t i = 0; i < rows.size() && status.ok(); ++i) {
        Gradient part{gradients[i], gradient_type};
        part.data = Advance(part.data, begin * BytesOf(part));
        status = IngestBlocks(rows[i], part, begin, end, committed);
      }
    }
  }
  for (size_t i = 0; i < rows.size() && status.ok(); ++i) {
    rows[i]->received_ = VectorBytes();
    status = CheckFinite(*rows[i]);
    rows[i]->complete_ = status.ok();
  }
  if (!status.ok()) {
    absl::MutexLock lock(&mutex_);
    for (Row* row : rows) Free(row);
  }
  return status;
}

Staging::Others Staging::OthersOf(Row* row, size_t begin, size_t end,
                                  CommittedRows committed) {
  Others others;
  const auto add = [&](const void* vector, const Rescaling& rescaling,
                       double* products) {
    others.vectors.push_back(vector);
    if (shape_.separate) others.rescalings.push_back(rescaling);
    others.products.push_back(products);
  };
  for (int j = 0; j < static_cast<int>(committed.vectors.size()); ++j) {
    // A row that is being replaced too will be met in its new form.
    if (j == row->index_ || Find(j) != nullptr) continue;
    add(committed.vectors[j],
        shape_.separate ? committed.rescalings[j] : Rescaling(),
        row->committed_[j].data());
    std::fill(row->has_committed_[j].begin() + begin,
              row->has_committed_[j].begin() + end, 1);
  }
  for (const auto& other : slots_) {
    if (other.get() == row || other->index_ < 0) continue;
    if (other->frontier_.load(std::memory_order_acquire) < end) continue;
    add(other->vector_, other->rescaling_, row->staged_[other->slot_].data());
    std::fill(row->staged_id_[other->slot_].begin() + begin,
              row->staged_id_[other->slot_].begin() + end, other->id_);
  }
  return others;
}

size_t Staging::BytesOf(const Gradient& gradient) const {
  return kernels_->block_elements() *
         (gradient.type.has_value() ? kHalfBytes : SizeOf(shape_.dtype));
}

absl::Status Staging::IngestBlocks(Row* row, Gradient gradient, size_t begin,
                                   size_t end, CommittedRows committed) {
  if (shape_.separate) {
    const size_t step =
        RowPasses::ScratchElements(*kernels_) / kernels_->block_elements();
    for (size_t b = begin; b < end; b += step) {
      Gradient part = gradient;
      if (part.data != row->memory_) {
        part.data = Advance(part.data, (b - begin) * BytesOf(part));
      }
      const absl::Status status =
          IngestSeparate(row, part, b, std::min(b + step, end), committed);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  const size_t first = begin * kernels_->block_elements();
  const size_t offset = first * SizeOf(shape_.dtype);
  Others others = OthersOf(row, begin, end, committed);
  for (const void*& other : others.vectors) other = Advance(other, offset);
  const size_t width = others.vectors.size() + 1;
  absl::FixedArray<double, 16> dots((end - begin) * width);
  const bool own_memory = row->vector_ == row->memory_;
  IngestPass pass;
  pass.dtype = shape_.dtype;
  pass.count =
      std::min(end * kernels_->block_elements(), shape_.num_parameters) - first;
  pass.beta_1 = shape_.beta_1;
  pass.gradient = gradient.data == row->memory_ ? Advance(gradient.data, offset)
                                                : gradient.data;
  pass.gradient_type = gradient.type;
  pass.momentum = committed.vectors.empty()
                      ? nullptr
                      : Advance(committed.vectors[row->index_], offset);
  pass.staged = own_memory ? Advance(row->memory_, offset) : nullptr;
  pass.rows = others.vectors;
  pass.dots = dots.data();
  const absl::Status status = kernels_->Ingest(pass);
  if (!status.ok()) return status;
  for (size_t b = begin; b < end; ++b) {
    const double* of_block = dots.data() + (b - begin) * width;
    row->self_[b] = of_block[0];
    for (size_t j = 0; j + 1 < width; ++j) {
      others.products[j][b] = of_block[1 + j];
    }
  }
  row->frontier_.store(end, std::memory_order_release);
  return absl::OkStatus();
}

absl::StatusOr<const void*> Staging::MakeRow(const Row& row, size_t piece,
                                             const void* vector,
                                             const Rescaling& rescaling,
                                             size_t offset,
                                             size_t count) const {
  SeparatePass pass;
  pass.dtype = shape_.dtype;
  pass.count = count;
  pass.momentum = Advance(vector, offset);
  pass.second = Advance(rescaling.second, offset);
  pass.scale = rescaling.scale;
  pass.second_scale = rescaling.second_scale;
  pass.epsilon = kEpsilon;
  pass.rescaled = Advance(
      row.scratch_->data(),
      piece * RowPasses::ScratchElements(*kernels_) * SizeOf(shape_.dtype));
  const absl::Status status = kernels_->Separate(pass);
  if (!status.ok()) return status;
  return pass.rescaled;
}

absl::Status Staging::IngestSeparate(Row* row, Gradient gradient, size_t begin,
                                     size_t end, CommittedRows committed) {
  const size_t first = begin * kernels_->block_elements();
  const size_t offset = first * SizeOf(shape_.dtype);
  const size_t count =
      std::min(end * kernels_->block_elements(), shape_.num_parameters) - first;
  if (gradient.data == row->memory_) {
    gradient.data = Advance(gradient.data, offset);
  }

  // The gradient's own square tells whether its elements' squares can be
  // stored; in the row they would go unnoticed, as a division by infinity. One
  // of 16 bits is widened on the way, to where its momentum will be.
  IngestPass square;
  square.dtype = shape_.dtype;
  square.count = count;
  square.gradient = gradient.data;
  square.gradient_type = gradient.type;
  if (gradient.type.has_value()) {
    square.staged = Advance(row->memory_, offset);
  }
  square.dots = row->gradient_.data() + begin;
  absl::Status status = kernels_->Ingest(square);
  if (!status.ok()) return status;

  SeparatePass pass;
  pass.dtype = shape_.dtype;
  pass.count = count;
  pass.gradient = gradient.type.has_value() ? square.staged : gradient.data;
  pass.momentum = Advance(committed.vectors[row->index_], offset);
  pass.second = Advance(committed.rescalings[row->index_].second, offset);
  pass.new_momentum = Advance(row->memory_, offset);
  pass.new_second = Advance(row->second_memory_, offset);
  pass.beta_1 = shape_.beta_1;
  pass.beta_2 = shape_.beta_2;
  pass.scale = row->rescaling_.scale;
  pass.second_scale = row->rescaling_.second_scale;
  pass.epsilon = kEpsilon;
  pass.rescaled = row->scratch_->data();
  status = kernels_->Separate(pass);
  if (!status.ok()) return status;

  Others others = OthersOf(row, begin, end, committed);
  for (size_t j = 0; j < others.vectors.size(); ++j) {
    const absl::StatusOr<const void*> made = MakeRow(
        *row, 1 + j, others.vectors[j], others.rescalings[j], offset, count);
    if (!made.ok()) return made.status();
    others.vectors[j] = *made;
  }
  const size_t width = others.vectors.size() + 1;
  absl::FixedArray<double, 16> dots((end - begin) * width);
  IngestPass products;
  products.dtype = shape_.dtype;
  products.count = count;
  products.gradient = pass.rescaled;
  products.rows = others.vectors;
  products.dots = dots.data();
  status = kernels_->Ingest(products);
  if (!status.ok()) return status;
  for (size_t b = begin; b < end; ++b) {
    const double* of_block = dots.data() + (b - begin) * width;
    row->self_[b] = of_block[0];
    for (size_t j = 0; j + 1 < width; ++j) {
      others.products[j][b] = of_block[1 + j];
    }
  }
  row->frontier_.store(end, std::memory_order_release);
  return absl::OkStatus();
}

absl::Status Staging::CheckFinite(const Row& row) const {
  // With separate momenta the gradient is looked at, not the rescaled row.
  const std::vector<double>& squares =
      shape_.separate ? row.gradient_ : row.self_;
  const absl::Status status = concord::CheckFinite(
      {row.index_, shape_.dtype, shape_.num_parameters, row.vector_}, squares,
      kernels_);
  if (!status.ok() || !shape_.separate) return status;
  return CheckNorm(absl::StrCat("vector ", row.index_), "norm ",
                   std::sqrt(row.gradient_square()), shape_.dtype);
}

absl::StatusOr<std::vector<Staging::Row*>> Staging::CompleteRows() {
  absl::MutexLock lock(&mutex_);
  std::vector<Row*> rows;
  for (const auto& row : slots_) {
    if (row->index_ < 0) continue;
    if (!row->complete_) {
      return absl::InternalError(absl::StrCat(
          "vector ", row->index_, " is staged but not complete at the solve"));
    }
    rows.push_back(row.get());
  }
  std::sort(rows.begin(), rows.end(),
            [](const Row* a, const Row* b) { return a->index_ < b->index_; });
  return rows;
}

absl::Status Staging::PairDots(const Row& row, const void* other,
                               const Rescaling& rescaling, size_t begin,
                               size_t end, double* sum) {
  const size_t elements = kernels_->block_elements();
  const size_t step = shape_.separate
                          ? RowPasses::ScratchElements(*kernels_) / elements
                          : end - begin;
  std::vector<double> dots(2 * std::min(step, end - begin));
  for (size_t b = begin; b < end; b += step) {
    const size_t first = b * elements;
    const size_t offset = first * SizeOf(shape_.dtype);
    const size_t blocks = std::min(step, end - b);
    const size_t count =
        std::min(blocks * elements, shape_.num_parameters - first);
    absl::StatusOr<const void*> vector = Advance(row.vector_, offset);
    absl::StatusOr<const void*> with = Advance(other, offset);
    if (shape_.separate) {
      vector = MakeRow(row, 0, row.vector_, row.rescaling_, offset, count);
      if (!vector.ok()) return vector.status();
      with = MakeRow(row, 1, other, rescaling, offset, count);
      if (!with.ok()) return with.status();
    }
    const void* others[] = {*with};
    IngestPass pass;
    pass.dtype = shape_.dtype;
    pass.count = count;
    pass.gradient = *vector;
    pass.rows = others;
    pass.dots = dots.data();
    const absl::Status status = kernels_->Ingest(pass);
    if (!status.ok()) return status;
    for (size_t k = 0; k < blocks; ++k) *sum += dots[2 * k + 1];
  }
  return absl::OkStatus();
}

absl::StatusOr<Eigen::MatrixXd> Staging::Gram(absl::Span<Row* const> rows,
                                              CommittedRows committed,
                                              const Eigen::MatrixXd& gram) {
  Eigen::MatrixXd result = gram;
  std::vector<const Row*> staged(shape_.num_vectors, nullptr);
  for (const Row* row : rows) staged[row->index_] = row;
  for (const Row* row : rows) {
    const int i = row->index_;
    double norm = 0;
    for (const double part : row->self_) norm += part;
    result(i, i) = norm;
    for (int j = 0; j < shape_.num_vectors; ++j) {
      const Row* other = staged[j];
      if (j == i || (other != nullptr && j < i)) continue;
      if (other == nullptr && committed.vectors.empty()) continue;
      // The product of a block, if one of the rows met the other one there.
      const auto seen = [&](size_t b) -> const double* {
        if (other == nullptr) {
          return row->has_committed_[j][b] ? &row->committed_[j][b] : nullptr;
        }
        if (row->staged_id_[other->slot_][b] == other->id_) {
          return &row->staged_[other->slot_][b];
        }
        return other->staged_id_[row->slot_][b] == row->id_
                   ? &other->staged_[row->slot_][b]
                   : nullptr;
      };
      const void* const vector =
          other == nullptr ? committed.vectors[j] : other->vector_;
      const Rescaling rescaling = other != nullptr  ? other->rescaling_
                                  : shape_.separate ? committed.rescalings[j]
                                                    : Rescaling();
      double sum = 0;
      for (size_t b = 0; b < blocks_;) {
        if (const double* product = seen(b); product != nullptr) {
          sum += *product;
          ++b;
          continue;
        }
        size_t end = b + 1;
        while (end < blocks_ && seen(end) == nullptr) ++end;
        const absl::Status status =
            PairDots(*row, vector, rescaling, b, end, &sum);
        if (!status.ok()) return status;
        b = end;
      }
      result(i, j) = result(j, i) = sum;
    }
  }
  return result;
}

}  // namespace concord
