// Sends a vector while it is being written.
#ifndef CONCORD_SERVER_RPC_UPDATE_SENDER_H_
#define CONCORD_SERVER_RPC_UPDATE_SENDER_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "concord/v1/step.pb.h"
#include "grpcpp/support/slice.h"
#include "server/rpc/stream_table.h"
#include "server/session/update.h"

namespace concord {

// The data of one update chunk: large enough that a message's cost does not
// count, small enough that sending keeps up with writing.
inline constexpr size_t kUpdateChunkBytes = 1 << 20;

// Updates up to this size travel with result and trailer in one message.
inline constexpr size_t kWholeReplyBytes = 256 << 10;

// Writes all of `update` as UpdateChunks (StepResponse and CombineResponse have
// them at the same place), each as soon as its bytes are final, and returns the
// trailer. Nothing is copied: gRPC shares the update. With a `place` in the
// client's memory, as large as the update, the bytes go there instead.
absl::StatusOr<const v1::StepTrailer*> SendUpdate(
    const std::shared_ptr<const Update>& update, LiveStream* stream,
    absl::Span<std::byte> place = {});

// All of a complete update, shared.
grpc::Slice WholeUpdate(const std::shared_ptr<const Update>& update);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_UPDATE_SENDER_H_
