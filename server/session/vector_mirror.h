// The vectors of a durable session whose device the host cannot see, and their
// mirror in the session's state file.
//
// Passes work on the device's memory. Before a record names vectors, Keep
// copies those to their places in the file that changed since the valid record
// was written: of a step the new momenta and the second momentum. The places of
// the valid record are never written (OperatorStorage::keeps_committed), so the
// file holds that record's state, whole, until the next one's switch.
//
// Threads: Allocate and Forget are safe; Keep one at a time, while nobody
// writes into the vectors that it names.
#ifndef CONCORD_SERVER_SESSION_VECTOR_MIRROR_H_
#define CONCORD_SERVER_SESSION_VECTOR_MIRROR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/vector_pool.h"
#include "server/storage/state_file.h"

namespace concord {

class VectorMirror : public VectorSource {
 public:
  // `device`: where the passes find their vectors. `stored`: the places of the
  // file's valid record, which are read when they are allocated; empty for a
  // file that was just made.
  VectorMirror(std::shared_ptr<Kernels> kernels,
               std::shared_ptr<VectorSource> device,
               std::shared_ptr<StateFile> file,
               absl::Span<const uint32_t> stored);

  // Copies to the file what it does not have of the vectors at `places`, all of
  // which are allocated. The device's or the disk's error.
  absl::Status Keep(absl::Span<const uint32_t> places);

  // The record that names these places is the valid one.
  void Kept(absl::Span<const uint32_t> places);

  // ---- VectorSource ----
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      uint32_t place) override;
  void Forget(uint32_t place) override;

 private:
  struct Pair {
    void* device;                        // Owned by the pool.
    std::unique_ptr<DeviceMemory> host;  // The place in the file.
  };

  const std::shared_ptr<Kernels> kernels_;
  const std::shared_ptr<VectorSource> device_;
  const std::shared_ptr<StateFile> file_;
  absl::Mutex mutex_;
  std::map<uint32_t, Pair> pairs_ ABSL_GUARDED_BY(mutex_);
  // Of the valid record: the file has these as the device has them.
  std::set<uint32_t> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_VECTOR_MIRROR_H_
