#include "client/cpp/vector_sender.h"

#include <algorithm>
#include <cstdint>

#include "concord/v1/step.pb.h"
#include "proto/wire/codec.h"

namespace concord {

bool SendVector(Connection* connection, int position, const void* data,
                size_t size, size_t chunk_bytes, const Limit& limit) {
  const auto* const bytes = static_cast<const std::byte*>(data);
  v1::VectorChunk chunk;
  chunk.set_vector(static_cast<uint32_t>(position));
  for (size_t offset = 0; offset < size;) {
    const size_t length = std::min(chunk_bytes, size - offset);
    chunk.set_offset(offset);
    const grpc::Slice slice = connection->Lend({bytes + offset, length});
    if (!connection->Write(
            wire::EncodeWithData(wire::kChunkField, chunk, {&slice, 1}),
            limit)) {
      return false;
    }
    offset += length;
  }
  return true;
}

bool Overlap(const void* a, const void* b, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(a);
  const auto second = reinterpret_cast<uintptr_t>(b);
  return std::max(first, second) - std::min(first, second) < size;
}

}  // namespace concord
