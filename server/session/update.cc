#include "server/session/update.h"

#include <utility>

namespace concord {
namespace {

// How long a reader sleeps before it asks whether it was cancelled.
constexpr absl::Duration kTick = absl::Milliseconds(100);

}  // namespace

Update::Update(std::unique_ptr<VectorMemory> memory, size_t size_bytes)
    : memory_(std::move(memory)), size_bytes_(size_bytes) {}

absl::Status Update::Await(absl::FunctionRef<bool()> is_cancelled,
                           absl::FunctionRef<bool()> is_there) const {
  absl::MutexLock lock(&mutex_);
  while (!is_there()) {
    if (!error_.ok()) return error_;
    if (is_cancelled()) {
      return absl::CancelledError("the stream was cancelled");
    }
    changed_.WaitWithTimeout(&mutex_, kTick);
  }
  return absl::OkStatus();
}

absl::Status Update::Wait(size_t end_bytes,
                          absl::FunctionRef<bool()> is_cancelled) const {
  if (final_bytes() >= end_bytes) return absl::OkStatus();
  return Await(is_cancelled, [&] { return final_bytes() >= end_bytes; });
}

absl::StatusOr<const v1::StepTrailer*> Update::WaitForTrailer(
    absl::FunctionRef<bool()> is_cancelled) const {
  if (!complete_.load(std::memory_order_acquire)) {
    const absl::Status status = Await(is_cancelled, [&] {
      return complete_.load(std::memory_order_acquire);
    });
    if (!status.ok()) return status;
  }
  return &trailer_;
}

void Update::Publish(size_t final_bytes) {
  absl::MutexLock lock(&mutex_);
  final_bytes_.store(final_bytes, std::memory_order_release);
  changed_.SignalAll();
}

void Update::Complete(v1::StepTrailer trailer) {
  trailer_ = std::move(trailer);
  absl::MutexLock lock(&mutex_);
  final_bytes_.store(size_bytes_, std::memory_order_release);
  complete_.store(true, std::memory_order_release);
  changed_.SignalAll();
}

void Update::Fail(absl::Status error) {
  absl::MutexLock lock(&mutex_);
  error_ = std::move(error);
  changed_.SignalAll();
}

void Update::Clear() {
  absl::MutexLock lock(&mutex_);
  final_bytes_.store(0, std::memory_order_relaxed);
  complete_.store(false, std::memory_order_relaxed);
  error_ = absl::OkStatus();
  trailer_.Clear();
}

std::shared_ptr<UpdatePool> UpdatePool::Make(size_t size_bytes) {
  return std::shared_ptr<UpdatePool>(new UpdatePool(size_bytes));
}

absl::StatusOr<std::shared_ptr<Update>> UpdatePool::Acquire() {
  std::unique_ptr<Update> update;
  {
    absl::MutexLock lock(&mutex_);
    update = std::move(spare_);
    if (update == nullptr) ++allocations_;
  }
  if (update == nullptr) {
    absl::StatusOr<std::unique_ptr<VectorMemory>> memory =
        VectorMemory::Map(size_bytes_);
    if (!memory.ok()) return memory.status();
    update = std::make_unique<Update>(*std::move(memory), size_bytes_);
  }
  return std::shared_ptr<Update>(
      update.release(),
      [pool = shared_from_this()](Update* used) { pool->Return(used); });
}

void UpdatePool::Return(Update* update) {
  std::unique_ptr<Update> used(update);
  used->Clear();
  absl::MutexLock lock(&mutex_);
  if (spare_ == nullptr) {
    spare_ = std::move(used);
  }  // Else it is freed, after the lock.
}

int UpdatePool::allocations() const {
  absl::MutexLock lock(&mutex_);
  return allocations_;
}

}  // namespace concord
