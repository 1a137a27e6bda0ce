// Memory for updates that the server writes where their caller keeps them.
//
// A caller may keep an update for as long as it likes, also longer than its
// session; when the last pointer to it is gone, its memory is used for another.
//
// Nobody but the server that is asked for a step may write to the memory of its
// update, and that only until the step is there. A try that fails may leave a
// server behind that goes on: Detach() takes the memory away from it.
//
// Threads: safe.
#ifndef CONCORD_CLIENT_CPP_SHARED_RESULTS_H_
#define CONCORD_CLIENT_CPP_SHARED_RESULTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/local/memory_region.h"

namespace concord {

class SharedResults : public std::enable_shared_from_this<SharedResults> {
 public:
  // There are so many at most: one is kept by the caller while the next is
  // written, and one more.
  static constexpr size_t kMost = 3;

  // Each has so many bytes.
  static std::shared_ptr<SharedResults> Make(size_t bytes);

  // Null: all are in use, or the system has no such memory. The content is
  // whatever it was.
  std::shared_ptr<void> Take();

  // As the server knows it. `id` is never used again for other memory.
  struct Found {
    const local::MemoryRegion* region;  // Valid while the caller holds it.
    uint64_t id;
  };
  // What Take() has returned and its caller still holds.
  std::optional<Found> Find(const void* update) const;

  // From now on nobody else sees or writes what is in there; the pointers stay
  // valid. Other memory than Take()'s needs nothing. RESOURCE_EXHAUSTED where
  // the system refuses it.
  absl::Status Detach(const void* update);

 private:
  struct Entry {
    local::MemoryRegion region;
    uint64_t id;
    bool in_use = true;
    bool detached = false;
  };
  explicit SharedResults(size_t bytes) : bytes_(bytes) {}
  void Return(const void* update);
  Entry* FindEntry(const void* update) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const size_t bytes_;
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SHARED_RESULTS_H_
