#include "client/cpp/shared_results.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/statusor.h"

namespace concord {

std::shared_ptr<SharedResults> SharedResults::Make(size_t bytes) {
  return absl::WrapUnique(new SharedResults(bytes));
}

std::shared_ptr<void> SharedResults::Take() {
  absl::MutexLock lock(&mutex_);
  Entry* taken = nullptr;
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (!entry->in_use) taken = entry.get();
  }
  if (taken == nullptr) {
    if (entries_.size() >= kMost) return nullptr;
    absl::StatusOr<local::MemoryRegion> region =
        local::MemoryRegion::Create(bytes_);
    if (!region.ok()) return nullptr;
    entries_.push_back(
        absl::WrapUnique(new Entry{*std::move(region), ++last_id_}));
    taken = entries_.back().get();
  }
  taken->in_use = true;
  return std::shared_ptr<void>(taken->region.bytes().data(),
                               [results = shared_from_this()](void* update) {
                                 results->Return(update);
                               });
}

SharedResults::Entry* SharedResults::FindEntry(const void* update) const {
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (entry->in_use && entry->region.bytes().data() == update) {
      return entry.get();
    }
  }
  return nullptr;
}

std::optional<SharedResults::Found> SharedResults::Find(
    const void* update) const {
  absl::MutexLock lock(&mutex_);
  const Entry* const entry = FindEntry(update);
  if (entry == nullptr || entry->detached) return std::nullopt;
  return Found{&entry->region, entry->id};
}

absl::Status SharedResults::Detach(const void* update) {
  absl::MutexLock lock(&mutex_);
  Entry* const entry = FindEntry(update);
  if (entry == nullptr || entry->detached) return absl::OkStatus();
  entry->detached = true;
  return entry->region.Detach();
}

void SharedResults::Return(const void* update) {
  absl::MutexLock lock(&mutex_);
  Entry* const entry = FindEntry(update);
  entry->in_use = false;
  if (!entry->detached) return;
  entries_.erase(std::find_if(
      entries_.begin(), entries_.end(),
      [entry](const auto& candidate) { return candidate.get() == entry; }));
}

}  // namespace concord
