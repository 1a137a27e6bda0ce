// Memory that the allocator keeps after a session has gone.
#ifndef CONCORD_SERVER_RPC_FREE_MEMORY_H_
#define CONCORD_SERVER_RPC_FREE_MEMORY_H_

#include <malloc.h>

namespace concord {

// A session's vectors go back to the kernel with it; the buffers of its
// messages are kept by the allocator for the next chunk, up to what was in
// flight at once. Gives those back, too.
inline void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_FREE_MEMORY_H_
