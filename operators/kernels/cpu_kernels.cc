#include "operators/kernels/cpu_kernels.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "oneapi/tbb/blocked_range.h"
#include "oneapi/tbb/global_control.h"
#include "oneapi/tbb/parallel_for.h"
#include "oneapi/tbb/partitioner.h"
#include "oneapi/tbb/task_arena.h"
#include "operators/kernels/cpu_columns.h"
#include "operators/kernels/cpu_passes.h"
#include "operators/kernels/cpu_separate.h"
#include "operators/kernels/flush_denormals.h"
#include "operators/kernels/machine_memory.h"
#include "operators/kernels/vector_memory.h"

namespace concord {
namespace {

// Below this a second thread costs more than it saves.
constexpr size_t kBlocksPerTask = 8;

class HostMemory : public DeviceMemory {
 public:
  explicit HostMemory(std::unique_ptr<VectorMemory> memory)
      : memory_(std::move(memory)) {}
  void* data() const override { return memory_->data(); }
  size_t size() const override { return memory_->size(); }

 private:
  const std::unique_ptr<VectorMemory> memory_;
};

template <class T>
T* At(T* base, size_t bytes) {
  using Byte =
      std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
  return base == nullptr ? nullptr : static_cast<Byte*>(base) + bytes;
}

std::vector<const void*> At(absl::Span<const void* const> rows, size_t bytes) {
  std::vector<const void*> moved(rows.begin(), rows.end());
  for (const void*& row : moved) row = At(row, bytes);
  return moved;
}

class CpuKernels : public Kernels {
 public:
  explicit CpuKernels(int threads)
      : threads_(threads),
        control_(tbb::global_control::max_allowed_parallelism,
                 std::max(threads, tbb::this_task_arena::max_concurrency())),
        arena_(threads) {}

  std::string device() const override { return "cpu"; }
  std::string backend() const override { return "cpu"; }
  int threads() const override { return threads_; }
  size_t block_elements() const override { return kCpuBlock; }
  bool host_accessible() const override { return true; }
  MemoryInfo memory() const override { return ReadMachineMemory(); }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) override {
    absl::StatusOr<std::unique_ptr<VectorMemory>> memory =
        VectorMemory::Map(bytes);
    if (!memory.ok()) return memory.status();
    return std::make_unique<HostMemory>(*std::move(memory));
  }

  absl::Status CopyFromHost(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }

  absl::Status Ingest(const IngestPass& pass) override {
    ForBlocks(pass.count, [&](size_t begin, size_t count) {
      if (count == pass.count) return CpuIngest(pass);
      const size_t bytes = begin * SizeOf(pass.dtype);
      const std::vector<const void*> rows = At(pass.rows, bytes);
      IngestPass part = pass;
      part.count = count;
      part.gradient =
          At(pass.gradient,
             pass.gradient_type.has_value() ? begin * kHalfBytes : bytes);
      part.momentum = At(pass.momentum, bytes);
      part.staged = At(pass.staged, bytes);
      part.rows = rows;
      part.dots = pass.dots + begin / kCpuBlock * (rows.size() + 1);
      CpuIngest(part);
    });
    return absl::OkStatus();
  }

  absl::Status Commit(const CommitPass& pass) override {
    ForBlocks(pass.count, [&](size_t begin, size_t count) {
      if (count == pass.count) return CpuCommit(pass);
      const size_t bytes = begin * SizeOf(pass.dtype);
      const std::vector<const void*> rows = At(pass.rows, bytes);
      const std::vector<const void*> previous = At(pass.previous_rows, bytes);
      CommitPass part = pass;
      part.count = count;
      part.rows = rows;
      part.previous_rows = previous;
      part.second = At(pass.second, bytes);
      part.new_second = At(pass.new_second, bytes);
      part.update = At(pass.update, bytes);
      if (pass.update_dots != nullptr) {
        part.update_dots =
            pass.update_dots + begin / kCpuBlock * (rows.size() + 1);
      }
      CpuCommit(part);
    });
    return absl::OkStatus();
  }

  absl::Status Separate(const SeparatePass& pass) override {
    ForBlocks(pass.count, [&](size_t begin, size_t count) {
      const size_t bytes = begin * SizeOf(pass.dtype);
      SeparatePass part = pass;
      part.count = count;
      part.gradient = At(pass.gradient, bytes);
      part.momentum = At(pass.momentum, bytes);
      part.second = At(pass.second, bytes);
      part.new_momentum = At(pass.new_momentum, bytes);
      part.new_second = At(pass.new_second, bytes);
      part.rescaled = At(pass.rescaled, bytes);
      CpuSeparate(part);
    });
    return absl::OkStatus();
  }

  absl::Status CombineColumns(const ColumnPass& pass) override {
    ForBlocks(pass.count, [&](size_t begin, size_t count) {
      const size_t bytes = begin * SizeOf(pass.dtype);
      const std::vector<const void*> rows = At(pass.rows, bytes);
      ColumnPass part = pass;
      part.first += begin;
      part.count = count;
      part.rows = rows;
      part.direction = At(pass.direction, bytes);
      CpuCombineColumns(part);
    });
    return absl::OkStatus();
  }

 private:
  // Calls run(first element, number of elements) for ranges of whole blocks
  // that cover [0, count), on this backend's threads.
  void ForBlocks(size_t count, absl::FunctionRef<void(size_t, size_t)> run) {
    const size_t blocks = (count + kCpuBlock - 1) / kCpuBlock;
    if (threads_ == 1 || blocks < 2 * kBlocksPerTask) {
      FlushDenormals flush;
      run(0, count);
      return;
    }
    arena_.execute([&] {
      tbb::parallel_for(tbb::blocked_range<size_t>(0, blocks, kBlocksPerTask),
                        [&](const tbb::blocked_range<size_t>& range) {
                          FlushDenormals flush;
                          const size_t begin = range.begin() * kCpuBlock;
                          run(begin,
                              std::min(range.end() * kCpuBlock, count) - begin);
                        });
    });
  }

  const int threads_;
  // As many workers as asked for, also more than the machine has cores.
  tbb::global_control control_;
  tbb::task_arena arena_;
};

}  // namespace

std::shared_ptr<Kernels> MakeCpuKernels(int threads) {
  return std::make_shared<CpuKernels>(std::max(threads, 1));
}

std::string CpuInstructionSet() { return CpuPassesTarget(); }

}  // namespace concord
