#include "server/rpc/process.h"

#include <malloc.h>
#include <signal.h>

#include <climits>

#include "absl/synchronization/mutex.h"

namespace concord {

void TuneProcess() {
  // Message buffers of some MiB come and go with every chunk: kept by the
  // allocator instead of being mapped anew, streams are three times as fast.
  // Few arenas, because each keeps its own.
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  // Distributions build Abseil, on which gRPC's locks stand, with a search for
  // lock cycles at every lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Beyond `ulimit -f` a write is to fail (EFBIG), not to end the process.
  signal(SIGXFSZ, SIG_IGN);
}

void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace concord
