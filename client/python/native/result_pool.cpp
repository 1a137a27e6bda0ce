#include "client/python/native/result_pool.h"

#include <utility>

namespace concord::python {

ResultBuffer::ResultBuffer(std::shared_ptr<ResultPool> pool,
                           std::unique_ptr<DeviceMemory> memory)
    : pool_(std::move(pool)),
      memory_(std::move(memory)),
      size_(pool_->bytes()) {}

ResultBuffer::~ResultBuffer() { pool_->GiveBack(std::move(memory_)); }

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
  return std::make_unique<ResultBuffer>(shared_from_this(), std::move(memory));
}

void ResultPool::GiveBack(std::unique_ptr<DeviceMemory> memory) {
  absl::MutexLock lock(&mutex_);
  if (spare_.size() < kMostSpare) spare_.push_back(std::move(memory));
}

}  // namespace concord::python
