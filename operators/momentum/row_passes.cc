#include "operators/momentum/row_passes.h"

#include <algorithm>
#include <utility>

namespace concord {
namespace {

// Bytes of the update that are computed between two calls of `progress`: one
// message's worth.
constexpr size_t kProgressBytes = size_t{1} << 20;

constexpr size_t kScratchBlocks = 4;

void AdvanceAll(absl::Span<const void* const> rows, size_t bytes,
                std::vector<const void*>* moved) {
  moved->clear();
  for (const void* row : rows) moved->push_back(Advance(row, bytes));
}

}  // namespace

RowPasses::RowPasses(Dtype dtype, size_t num_parameters, int num_rows,
                     Kernels* kernels)
    : dtype_(dtype),
      num_parameters_(num_parameters),
      num_rows_(num_rows),
      kernels_(kernels) {}

size_t RowPasses::ScratchElements(const Kernels& kernels) {
  if (!kernels.host_accessible()) return kernels.pass_elements();
  return kScratchBlocks * static_cast<size_t>(kernels.threads()) *
         kernels.block_elements();
}

absl::Status RowPasses::AllocateScratch() {
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory = kernels_->Allocate(
      (num_rows_ + 1) * ScratchElements(*kernels_) * SizeOf(dtype_));
  if (!memory.ok()) return memory.status();
  scratch_ = *std::move(memory);
  return absl::OkStatus();
}

void* RowPasses::Scratch(size_t row) const {
  return Advance(scratch_->data(),
                 row * ScratchElements(*kernels_) * SizeOf(dtype_));
}

void RowPasses::Add(const double* partial, size_t count, size_t width,
                    std::vector<double>* dots) const {
  const size_t block = kernels_->block_elements();
  for (size_t b = 0; b * block < count; ++b) {
    for (size_t j = 0; j < width; ++j) (*dots)[j] += partial[b * width + j];
  }
}

absl::Status RowPasses::Run(const UpdatePass& pass, UpdateDots* dots,
                            absl::FunctionRef<void(size_t)> progress) const {
  const bool made = pass.rule != nullptr || !pass.rescalings.empty();
  const size_t block = kernels_->block_elements();
  const size_t width = pass.commit.rows.size() + 1;
  const size_t announced =
      std::max<size_t>(1, kProgressBytes / SizeOf(dtype_) / block) * block;
  // A device is told once: what it has to be told takes longer than it needs
  // for a message's worth.
  const size_t range = made ? ScratchElements(*kernels_)
                       : kernels_->host_accessible() ? announced
                                                     : num_parameters_;
  std::vector<double> partial;
  if (dots != nullptr) {
    dots->update.assign(width, 0.0);
    if (pass.rule != nullptr) dots->direction.assign(width, 0.0);
  }
  if (dots != nullptr || pass.rule != nullptr) {
    partial.resize((std::min(range, num_parameters_) + block - 1) / block *
                   width);
  }
  size_t told = 0;
  for (size_t begin = 0; begin < num_parameters_; begin += range) {
    const Range part = {begin, std::min(range, num_parameters_ - begin)};
    const absl::Status status =
        made ? RunMade(pass, part, partial.data(), dots)
             : RunPlain(pass, part, partial.data(), dots);
    if (!status.ok()) return status;
    const size_t end = begin + part.count;
    while (told < end && (end - told >= announced || end == num_parameters_)) {
      told = std::min(told + announced, end);
      progress(told);
    }
  }
  return absl::OkStatus();
}

absl::Status RowPasses::RunPlain(const UpdatePass& pass, Range range,
                                 double* partial, UpdateDots* dots) const {
  const size_t bytes = range.begin * SizeOf(dtype_);
  CommitPass part = pass.commit;
  part.dtype = dtype_;
  part.count = range.count;
  part.update_dots = dots == nullptr ? nullptr : partial;
  std::vector<const void*> rows, previous;
  if (bytes > 0) {
    AdvanceAll(part.rows, bytes, &rows);
    AdvanceAll(part.previous_rows, bytes, &previous);
    part.rows = rows;
    part.previous_rows = previous;
    part.second = Advance(part.second, bytes);
    part.new_second = Advance(part.new_second, bytes);
    part.update = Advance(part.update, bytes);
  }
  const absl::Status status = kernels_->Commit(part);
  if (status.ok() && dots != nullptr) {
    Add(partial, range.count, pass.commit.rows.size() + 1, &dots->update);
  }
  return status;
}

absl::Status RowPasses::RunMade(const UpdatePass& pass, Range range,
                                double* partial, UpdateDots* dots) const {
  const size_t bytes = range.begin * SizeOf(dtype_);
  std::vector<const void*> rows, previous;
  AdvanceAll(pass.commit.rows, bytes, &rows);
  AdvanceAll(pass.commit.previous_rows, bytes, &previous);
  for (size_t i = 0; i < pass.rescalings.size(); ++i) {
    SeparatePass separate;
    separate.dtype = dtype_;
    separate.count = range.count;
    separate.momentum = rows[i];
    separate.second = Advance(pass.rescalings[i].second, bytes);
    separate.scale = pass.rescalings[i].scale;
    separate.second_scale = pass.rescalings[i].second_scale;
    separate.epsilon = kEpsilon;
    separate.rescaled = Scratch(i);
    const absl::Status status = kernels_->Separate(separate);
    if (!status.ok()) return status;
    rows[i] = separate.rescaled;
  }
  CommitPass part = pass.commit;
  part.dtype = dtype_;
  part.count = range.count;
  part.previous_rows = previous;
  part.second = Advance(part.second, bytes);
  part.new_second = Advance(part.new_second, bytes);
  part.update = Advance(part.update, bytes);
  if (pass.rule == nullptr) {
    part.rows = rows;
    part.update_dots = dots == nullptr ? nullptr : partial;
    const absl::Status status = kernels_->Commit(part);
    if (status.ok() && dots != nullptr) {
      Add(partial, range.count, rows.size() + 1, &dots->update);
    }
    return status;
  }

  void* const direction = Scratch(num_rows_);
  ColumnPass columns;
  columns.dtype = dtype_;
  columns.first = range.begin;
  columns.count = range.count;
  columns.rows = rows;
  columns.scales = pass.scales;
  columns.rule = pass.rule;
  columns.direction = direction;
  absl::Status status = kernels_->CombineColumns(columns);
  if (!status.ok()) return status;
  const void* const only[] = {direction};
  part.rows = only;
  status = kernels_->Commit(part);
  // The ingest's pass takes dots, and copies.
  const auto take = [&](const void* vector, void* copy,
                        std::vector<double>* sums) {
    IngestPass ingest;
    ingest.dtype = dtype_;
    ingest.count = range.count;
    ingest.gradient = vector;
    ingest.staged = copy;
    ingest.rows = rows;
    ingest.dots = partial;
    const absl::Status taken = kernels_->Ingest(ingest);
    if (taken.ok() && sums != nullptr) {
      Add(partial, range.count, rows.size() + 1, sums);
    }
    return taken;
  };
  if (status.ok() && (pass.kept_direction != nullptr || dots != nullptr)) {
    status = take(direction, Advance(pass.kept_direction, bytes),
                  dots == nullptr ? nullptr : &dots->direction);
  }
  if (status.ok() && dots != nullptr) {
    status = take(part.update, nullptr, &dots->update);
  }
  return status;
}

}  // namespace concord
