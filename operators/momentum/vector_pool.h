// The vectors of one operator's state, and who holds them.
//
// All vectors of an operator have one size. What is committed, what is staged
// and what a snapshot reads are handles on vectors of one pool; a vector that
// nobody holds any more goes back to the pool. So a snapshot costs no copy: it
// holds the vectors of its step, and the steps after it write into others. In
// steady state the pool allocates nothing; what a snapshot made it allocate
// beyond `reserved` is freed when it comes back.
//
// Where the vectors are is the business of a VectorSource: memory of the
// kernels' device, or a file (server/storage). It names each by its place,
// the smallest number that is free.
//
// Threads: safe. A handle keeps its pool alive, and the pool its source.
#ifndef CONCORD_OPERATORS_MOMENTUM_VECTOR_POOL_H_
#define CONCORD_OPERATORS_MOMENTUM_VECTOR_POOL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "operators/kernels/kernels.h"

namespace concord {

class VectorSource {
 public:
  virtual ~VectorSource() = default;

  // Memory on the kernels' device for the vector at `place`, aligned to a cache
  // line: zeros, or what the source has stored there. RESOURCE_EXHAUSTED when
  // there is none. Called for a place that is not allocated.
  virtual absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      uint32_t place) = 0;

  // The vector at `place`, whose memory is gone, will not be asked for as it
  // was: what is stored there may go.
  virtual void Forget(uint32_t place) = 0;
};

// Memory of the device, zeroed, `bytes` a vector.
std::shared_ptr<VectorSource> DeviceVectors(std::shared_ptr<Kernels> kernels,
                                            size_t bytes);

// Vectors do not all begin at the same offset in a page: passes over many of
// them would meet in the same sets of the cache. A source begins the vector at
// `place` this many bytes into its pages.
size_t VectorOffset(uint32_t place);

class StoredVector {
 public:
  StoredVector(uint32_t place, std::unique_ptr<DeviceMemory> memory)
      : place_(place), memory_(std::move(memory)) {}
  uint32_t place() const { return place_; }
  void* data() const { return memory_->data(); }

 private:
  const uint32_t place_;
  const std::unique_ptr<DeviceMemory> memory_;
};
using VectorHandle = std::shared_ptr<StoredVector>;

class VectorPool : public std::enable_shared_from_this<VectorPool> {
 public:
  // `reserved`: vectors that stay allocated when they come back.
  static std::shared_ptr<VectorPool> Make(std::shared_ptr<VectorSource> source,
                                          size_t reserved);

  // A vector with any content. The errors of the source.
  absl::StatusOr<VectorHandle> Take();

  // The vector that the source has stored at `place`, which must not have been
  // taken.
  absl::StatusOr<VectorHandle> Claim(uint32_t place);

  // Allocates what is reserved and not yet there, so that Take succeeds.
  absl::Status Fill();

  // Vectors that are allocated, held or not.
  size_t allocated() const;

 private:
  VectorPool(std::shared_ptr<VectorSource> source, size_t reserved)
      : source_(std::move(source)), reserved_(reserved) {}
  VectorHandle Handle(std::unique_ptr<StoredVector> vector);
  void Return(std::unique_ptr<StoredVector> vector);
  absl::StatusOr<std::unique_ptr<StoredVector>> Allocate(uint32_t place)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t SmallestUnused() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<VectorSource> source_;
  const size_t reserved_;
  mutable absl::Mutex mutex_;
  std::set<uint32_t> allocated_ ABSL_GUARDED_BY(mutex_);
  // By place: the smallest is taken first, so that those beyond `reserved`
  // come to rest.
  std::map<uint32_t, std::unique_ptr<StoredVector>> free_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_VECTOR_POOL_H_
