#include "operators/momentum/vector_pool.h"

#include <utility>
#include <vector>

namespace concord {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kOffsetStep = 320;  // Five cache lines.

// A part of another memory.
class OffsetMemory : public DeviceMemory {
 public:
  OffsetMemory(std::unique_ptr<DeviceMemory> whole, size_t offset)
      : whole_(std::move(whole)), offset_(offset) {}
  void* data() const override {
    return static_cast<std::byte*>(whole_->data()) + offset_;
  }
  size_t size() const override { return whole_->size() - offset_; }

 private:
  const std::unique_ptr<DeviceMemory> whole_;
  const size_t offset_;
};

class DeviceSource : public VectorSource {
 public:
  DeviceSource(std::shared_ptr<Kernels> kernels, size_t bytes)
      : kernels_(std::move(kernels)), bytes_(bytes) {}

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      uint32_t place) override {
    const size_t offset = VectorOffset(place);
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        kernels_->Allocate(bytes_ + offset);
    if (!memory.ok()) return memory.status();
    return std::make_unique<OffsetMemory>(*std::move(memory), offset);
  }
  void Forget(uint32_t /*place*/) override {}

 private:
  const std::shared_ptr<Kernels> kernels_;
  const size_t bytes_;
};

}  // namespace

size_t VectorOffset(uint32_t place) { return place * kOffsetStep % kPage; }

std::shared_ptr<VectorSource> DeviceVectors(std::shared_ptr<Kernels> kernels,
                                            size_t bytes) {
  return std::make_shared<DeviceSource>(std::move(kernels), bytes);
}

std::shared_ptr<VectorPool> VectorPool::Make(
    std::shared_ptr<VectorSource> source, size_t reserved) {
  return std::shared_ptr<VectorPool>(
      new VectorPool(std::move(source), reserved));
}

uint32_t VectorPool::SmallestUnused() const {
  uint32_t place = 0;
  for (const uint32_t used : allocated_) {
    if (used != place) break;
    ++place;
  }
  return place;
}

absl::StatusOr<std::unique_ptr<StoredVector>> VectorPool::Allocate(
    uint32_t place) {
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
      source_->Allocate(place);
  if (!memory.ok()) return memory.status();
  allocated_.insert(place);
  return std::make_unique<StoredVector>(place, *std::move(memory));
}

VectorHandle VectorPool::Handle(std::unique_ptr<StoredVector> vector) {
  return VectorHandle(vector.release(),
                      [pool = shared_from_this()](StoredVector* held) {
                        pool->Return(std::unique_ptr<StoredVector>(held));
                      });
}

absl::StatusOr<VectorHandle> VectorPool::Take() {
  absl::MutexLock lock(&mutex_);
  if (!free_.empty()) {
    auto node = free_.extract(free_.begin());
    return Handle(std::move(node.mapped()));
  }
  absl::StatusOr<std::unique_ptr<StoredVector>> vector =
      Allocate(SmallestUnused());
  if (!vector.ok()) return vector.status();
  return Handle(*std::move(vector));
}

absl::StatusOr<VectorHandle> VectorPool::Claim(uint32_t place) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = free_.find(place); found != free_.end()) {
    auto node = free_.extract(found);
    return Handle(std::move(node.mapped()));
  }
  if (allocated_.contains(place)) {
    return absl::InvalidArgumentError("a vector's place was claimed twice");
  }
  absl::StatusOr<std::unique_ptr<StoredVector>> vector = Allocate(place);
  if (!vector.ok()) return vector.status();
  return Handle(*std::move(vector));
}

absl::Status VectorPool::Fill() {
  absl::MutexLock lock(&mutex_);
  while (allocated_.size() < reserved_) {
    const uint32_t place = SmallestUnused();
    absl::StatusOr<std::unique_ptr<StoredVector>> vector = Allocate(place);
    if (!vector.ok()) return vector.status();
    free_.emplace(place, *std::move(vector));
  }
  return absl::OkStatus();
}

size_t VectorPool::allocated() const {
  absl::MutexLock lock(&mutex_);
  return allocated_.size();
}

void VectorPool::Return(std::unique_ptr<StoredVector> vector) {
  absl::MutexLock lock(&mutex_);
  const uint32_t place = vector->place();
  free_.emplace(place, std::move(vector));
  // The highest go first; those still held come back later.
  while (allocated_.size() > reserved_ && !free_.empty()) {
    auto last = free_.extract(std::prev(free_.end()));
    const uint32_t gone = last.key();
    last.mapped().reset();
    allocated_.erase(gone);
    source_->Forget(gone);
  }
}

}  // namespace concord
