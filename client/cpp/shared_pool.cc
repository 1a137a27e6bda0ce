#include "client/cpp/shared_pool.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/statusor.h"

namespace concord {

std::shared_ptr<SharedPool> SharedPool::Make(size_t bytes, size_t most) {
  return absl::WrapUnique(new SharedPool(bytes, most));
}

std::shared_ptr<void> SharedPool::Take() {
  absl::MutexLock lock(&mutex_);
  Entry* taken = nullptr;
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (!entry->in_use) taken = entry.get();
  }
  if (taken == nullptr) {
    if (entries_.size() >= most_) return nullptr;
    absl::StatusOr<local::MemoryRegion> region =
        local::MemoryRegion::Create(bytes_);
    if (!region.ok()) return nullptr;
    entries_.push_back(
        absl::WrapUnique(new Entry{*std::move(region), ++last_id_}));
    taken = entries_.back().get();
  }
  taken->in_use = true;
  return std::shared_ptr<void>(
      taken->region.bytes().data(),
      [pool = shared_from_this()](void* memory) { pool->Return(memory); });
}

SharedPool::Entry* SharedPool::FindEntry(const void* memory) const {
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (entry->in_use && entry->region.bytes().data() == memory) {
      return entry.get();
    }
  }
  return nullptr;
}

std::optional<SharedPool::Found> SharedPool::Find(const void* memory) const {
  absl::MutexLock lock(&mutex_);
  const Entry* const entry = FindEntry(memory);
  if (entry == nullptr || entry->detached) return std::nullopt;
  return Found{&entry->region, entry->id};
}

absl::Status SharedPool::Detach(const void* memory) {
  absl::MutexLock lock(&mutex_);
  Entry* const entry = FindEntry(memory);
  if (entry == nullptr || entry->detached) return absl::OkStatus();
  entry->detached = true;
  return entry->region.Detach();
}

void SharedPool::Return(const void* memory) {
  absl::MutexLock lock(&mutex_);
  Entry* const entry = FindEntry(memory);
  entry->in_use = false;
  if (!entry->detached) return;
  entries_.erase(std::find_if(
      entries_.begin(), entries_.end(),
      [entry](const auto& candidate) { return candidate.get() == entry; }));
}

}  // namespace concord
