#include "client/python/native/result_pool.h"

#include <utility>

namespace concord::python {

absl::StatusOr<std::unique_ptr<ResultBuffer>> ResultPool::Take() {
  std::unique_ptr<DeviceMemory> memory;
  {
    absl::MutexLock lock(&mutex_);
    if (!spare_.empty()) {
      memory = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (memory == nullptr) {
    auto fresh = kernels_->Allocate(bytes_);
    if (!fresh.ok()) return fresh.status();
    memory = *std::move(fresh);
  }
  void* const data = memory->data();
  return std::make_unique<ResultBuffer>(
      std::shared_ptr<void>(
          data,
          [pool = shared_from_this(), held = memory.release()](void*) {
            pool->GiveBack(std::unique_ptr<DeviceMemory>(held));
          }),
      bytes_);
}

void ResultPool::GiveBack(std::unique_ptr<DeviceMemory> memory) {
  absl::MutexLock lock(&mutex_);
  if (spare_.size() < kMostSpare) spare_.push_back(std::move(memory));
}

}  // namespace concord::python
