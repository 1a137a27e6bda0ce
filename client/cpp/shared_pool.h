// Memory of one size that a worker shares with its server: for gradients that
// are read, and updates that are written, where their caller keeps them.
//
// A caller may keep what it has taken for as long as it likes, also longer than
// its session; when the last pointer to it is gone, its memory is used again.
//
// During a step the server reads a gradient and writes an update. A try that
// fails may leave a server behind that goes on: Detach() takes the memory away
// from it.
//
// Threads: safe.
#ifndef CONCORD_CLIENT_CPP_SHARED_POOL_H_
#define CONCORD_CLIENT_CPP_SHARED_POOL_H_

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

class SharedPool : public std::enable_shared_from_this<SharedPool> {
 public:
  // `most` pieces of so many bytes.
  static std::shared_ptr<SharedPool> Make(size_t bytes, size_t most);

  // Null: all are in use, or the system has no such memory. The content is
  // whatever it was.
  std::shared_ptr<void> Take();

  // As the server knows it. `id` is never used again for other memory.
  struct Found {
    const local::MemoryRegion* region;  // Valid while the caller holds it.
    uint64_t id;
  };
  // What Take() has returned and its caller still holds.
  std::optional<Found> Find(const void* memory) const;

  // From now on nobody else sees or writes what is in there; the pointers stay
  // valid, and so does the content. Other memory than Take()'s needs nothing.
  // RESOURCE_EXHAUSTED where the system refuses it.
  absl::Status Detach(const void* memory);

 private:
  struct Entry {
    local::MemoryRegion region;
    uint64_t id;
    bool in_use = true;
    bool detached = false;
  };
  SharedPool(size_t bytes, size_t most) : bytes_(bytes), most_(most) {}
  void Return(const void* memory);
  Entry* FindEntry(const void* memory) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const size_t bytes_;
  const size_t most_;
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SHARED_POOL_H_
