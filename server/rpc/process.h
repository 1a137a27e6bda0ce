// The process that serves: settings of its allocator, its locks and a signal,
// and what it uses.
#ifndef CONCORD_SERVER_RPC_PROCESS_H_
#define CONCORD_SERVER_RPC_PROCESS_H_

namespace concord {

// To be called at the begin of main, before any thread.
void TuneProcess();

// A session's vectors go back to the kernel with it; the buffers of its
// messages are kept by the allocator for the next chunk, up to what was in
// flight at once. Gives those back, too.
void ReturnFreeMemory();

// What cannot be read is 0.
struct ProcessUse {
  double resident_bytes = 0;
  double cpu_seconds = 0;  // User and system.
  double open_files = 0;
  double start_time_seconds = 0;  // Since 1970.
};
ProcessUse ReadProcessUse();

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_PROCESS_H_
