#include "client/cpp/vector_sender.h"

#include <algorithm>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "concord/v1/step.pb.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

// `data_of(offset, length)`: what the chunk at that offset is to bring.
bool SendChunks(Connection* connection, int position, size_t size,
                size_t chunk_bytes, const Limit& limit,
                absl::FunctionRef<grpc::Slice(size_t, size_t)> data_of) {
  v1::VectorChunk chunk;
  chunk.set_vector(static_cast<uint32_t>(position));
  for (size_t offset = 0; offset < size;) {
    const size_t length = std::min(chunk_bytes, size - offset);
    chunk.set_offset(offset);
    const grpc::Slice slice = data_of(offset, length);
    if (!connection->Write(
            wire::EncodeWithData(wire::kChunkField, chunk, {&slice, 1}),
            limit)) {
      return false;
    }
    offset += length;
  }
  return true;
}

}  // namespace

bool SendVector(Connection* connection, int position, const void* data,
                size_t size, size_t chunk_bytes, const Limit& limit) {
  const auto* const bytes = static_cast<const std::byte*>(data);
  return SendChunks(connection, position, size, chunk_bytes, limit,
                    [&](size_t offset, size_t length) {
                      return connection->Lend({bytes + offset, length});
                    });
}

bool SendNarrowed(Connection* connection, int position, const float* data,
                  HalfType type, size_t size, size_t chunk_bytes,
                  const Limit& limit) {
  // Whole elements.
  chunk_bytes = std::max(chunk_bytes / kHalfBytes, size_t{1}) * kHalfBytes;
  return SendChunks(connection, position, size, chunk_bytes, limit,
                    [&](size_t offset, size_t length) {
                      return NarrowedSlice(data + offset / kHalfBytes, type,
                                           length / kHalfBytes);
                    });
}

grpc::Slice NarrowedSlice(const float* data, HalfType type, size_t count) {
  const grpc::Slice slice(count * kHalfBytes);
  // Nobody else has seen it yet.
  Narrow(type, data, count, const_cast<uint8_t*>(slice.begin()));
  return slice;
}

bool Overlap(const void* a, size_t size_of_a, const void* b, size_t size_of_b) {
  const auto first = reinterpret_cast<uintptr_t>(a);
  const auto second = reinterpret_cast<uintptr_t>(b);
  return first <= second ? second - first < size_of_a
                         : first - second < size_of_b;
}

}  // namespace concord
