// One watch, from its request to its end.
#ifndef CONCORD_SERVER_RPC_WATCH_STREAM_H_
#define CONCORD_SERVER_RPC_WATCH_STREAM_H_

#include "absl/status/status.h"
#include "server/rpc/read_message.h"
#include "server/rpc/stream_table.h"
#include "server/session/registry.h"

namespace concord {

// Sends a message per committed step, or for the newest of several where the
// client takes them more slowly; goes on until either side ends it. Never OK.
// Draining does not wait for a watch.
absl::Status ServeWatch(SessionRegistry* registry, LiveStream* stream,
                        AdmitToSession admit);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_WATCH_STREAM_H_
