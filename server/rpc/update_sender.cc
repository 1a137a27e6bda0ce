#include "server/rpc/update_sender.h"

#include <algorithm>
#include <cstring>

#include "absl/container/inlined_vector.h"
#include "proto/wire/codec.h"
#include "proto/wire/payload.h"

namespace concord {

absl::StatusOr<const v1::StepTrailer*> SendUpdate(
    const std::shared_ptr<const Update>& update, LiveStream* stream,
    absl::Span<std::byte> place) {
  const auto is_cancelled = [stream] { return stream->is_cancelled(); };
  v1::UpdateChunk chunk;
  for (size_t begin = 0; begin < update->size_bytes();) {
    const size_t end =
        std::min(begin + kUpdateChunkBytes, update->size_bytes());
    absl::Status status = update->Wait(end, is_cancelled);
    if (!status.ok()) return status;
    chunk.set_offset(begin);
    absl::InlinedVector<grpc::Slice, 1> data;
    if (place.empty()) {
      data.push_back(
          wire::ShareSlice(update, {update->data() + begin, end - begin}));
    } else {
      std::memcpy(&place[begin], update->data() + begin, end - begin);
      chunk.set_shared_bytes(end - begin);
    }
    if (!stream->Write(wire::EncodeWithData(wire::kChunkField, chunk, data))) {
      return stream->status();
    }
    begin = end;
  }
  return update->WaitForTrailer(is_cancelled);
}

grpc::Slice WholeUpdate(const std::shared_ptr<const Update>& update) {
  return wire::ShareSlice(update, {update->data(), update->size_bytes()});
}

}  // namespace concord
