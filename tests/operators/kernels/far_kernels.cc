#include "tests/operators/kernels/far_kernels.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/device_kernels.h"

namespace concord {
namespace {

// Not canonical on x86-64 and beyond the user's half on aarch64: never mapped.
constexpr uintptr_t kFar = uintptr_t{1} << 60;

template <class T>
T* ToFar(T* near) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(near) + kFar);
}

// A near address becomes one that is not mapped either.
template <class T>
T* ToNear(T* far) {
  if (far == nullptr) return nullptr;
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(far) - kFar);
}

std::vector<const void*> ToNear(absl::Span<const void* const> rows) {
  std::vector<const void*> near(rows.begin(), rows.end());
  for (const void*& row : near) row = ToNear(row);
  return near;
}

class FarMemory : public DeviceMemory {
 public:
  explicit FarMemory(std::unique_ptr<DeviceMemory> memory)
      : memory_(std::move(memory)) {}
  void* data() const override { return ToFar(memory_->data()); }
  size_t size() const override { return memory_->size(); }

 private:
  const std::unique_ptr<DeviceMemory> memory_;
};

class FarKernels : public Kernels {
 public:
  explicit FarKernels(std::shared_ptr<Kernels> cpu) : cpu_(std::move(cpu)) {}

  std::string device() const override { return "far"; }
  std::string backend() const override { return "far"; }
  int threads() const override { return cpu_->threads(); }
  size_t block_elements() const override { return cpu_->block_elements(); }
  // A few, so that vectors of tests have several passes.
  size_t pass_elements() const override { return 3 * block_elements(); }
  bool host_accessible() const override { return false; }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) override {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        cpu_->Allocate(bytes);
    if (!memory.ok()) return memory.status();
    return std::make_unique<FarMemory>(*std::move(memory));
  }

  absl::Status CopyFromHost(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyFromHost(ToNear(to), from, bytes);
  }
  absl::Status CopyToHost(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyToHost(to, ToNear(from), bytes);
  }
  absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyOnDevice(ToNear(to), ToNear(from), bytes);
  }

  absl::Status Ingest(const IngestPass& pass) override {
    const std::vector<const void*> rows = ToNear(pass.rows);
    IngestPass near = pass;
    near.gradient = ToNear(pass.gradient);
    near.momentum = ToNear(pass.momentum);
    near.staged = ToNear(pass.staged);
    near.rows = rows;
    return cpu_->Ingest(near);
  }

  absl::Status Commit(const CommitPass& pass) override {
    const std::vector<const void*> rows = ToNear(pass.rows);
    const std::vector<const void*> previous = ToNear(pass.previous_rows);
    CommitPass near = pass;
    near.rows = rows;
    near.previous_rows = previous;
    near.second = ToNear(pass.second);
    near.new_second = ToNear(pass.new_second);
    near.update = ToNear(pass.update);
    return cpu_->Commit(near);
  }

  absl::Status Separate(const SeparatePass& pass) override {
    SeparatePass near = pass;
    near.gradient = ToNear(pass.gradient);
    near.momentum = ToNear(pass.momentum);
    near.second = ToNear(pass.second);
    near.new_momentum = ToNear(pass.new_momentum);
    near.new_second = ToNear(pass.new_second);
    near.rescaled = ToNear(pass.rescaled);
    return cpu_->Separate(near);
  }

  absl::Status CombineColumns(const ColumnPass& pass) override {
    const std::vector<const void*> rows = ToNear(pass.rows);
    ColumnPass near = pass;
    near.rows = rows;
    near.direction = ToNear(pass.direction);
    return cpu_->CombineColumns(near);
  }

 private:
  const std::shared_ptr<Kernels> cpu_;
};

}  // namespace

std::shared_ptr<Kernels> MakeFarKernels(int threads) {
  if (const char* device = std::getenv("CONCORD_FAR_DEVICE");
      device != nullptr) {
    auto kernels = LoadDeviceKernels(device);
    if (kernels.ok()) return *std::move(kernels);
    ADD_FAILURE() << kernels.status();
  }
  return std::make_shared<FarKernels>(MakeCpuKernels(threads));
}

}  // namespace concord
