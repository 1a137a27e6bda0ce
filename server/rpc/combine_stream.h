// One `Combine` stream (proto/concord/v1/combine.proto).
#ifndef CONCORD_SERVER_RPC_COMBINE_STREAM_H_
#define CONCORD_SERVER_RPC_COMBINE_STREAM_H_

#include <memory>

#include "absl/status/status.h"
#include "server/rpc/stream_table.h"
#include "server/session/registry.h"

namespace concord {

// Serves the stream to its end. `account`: who is billed for its memory.
absl::Status ServeCombine(SessionRegistry* registry,
                          const std::shared_ptr<CallerAccount>& account,
                          LiveStream* stream);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_COMBINE_STREAM_H_
