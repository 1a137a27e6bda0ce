// A session's state as a stream: out of the server, and into it.
#ifndef CONCORD_SERVER_RPC_STATE_STREAMS_H_
#define CONCORD_SERVER_RPC_STATE_STREAMS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "concord/v1/session.pb.h"
#include "server/rpc/read_message.h"
#include "server/rpc/stream_table.h"
#include "server/session/registry.h"

namespace concord {

// Serves ExportSession: the state of the last committed step, piece by piece,
// while steps go on. A reader that takes nothing for the session's send_timeout
// is cancelled. Returns the RPC's status.
absl::Status ServeExport(SessionRegistry* registry, LiveStream* stream,
                         AdmitToSession admit);

// Serves ImportSession up to its answer: reads the target and the chunks, and
// makes them the session's state. Bad input changes nothing.
absl::StatusOr<v1::Session> ServeImport(SessionRegistry* registry,
                                        LiveStream* stream,
                                        AdmitToSession admit);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_STATE_STREAMS_H_
