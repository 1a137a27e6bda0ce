// Settings of a process that serves: of its allocator, its locks and a signal.
#ifndef CONCORD_SERVER_RPC_PROCESS_H_
#define CONCORD_SERVER_RPC_PROCESS_H_

namespace concord {

// To be called at the begin of main, before any thread.
void TuneProcess();

// A session's vectors go back to the kernel with it; the buffers of its
// messages are kept by the allocator for the next chunk, up to what was in
// flight at once. Gives those back, too.
void ReturnFreeMemory();

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_PROCESS_H_
