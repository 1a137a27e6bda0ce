#include "client/cpp/vector_sender.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "concord/v1/step.pb.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

// `data_of(offset, length)`: what the chunk at that offset is to bring.
bool SendChunks(MessageStream* stream, int position, size_t size,
                size_t chunk_bytes, const Limit& limit,
                absl::FunctionRef<grpc::Slice(size_t, size_t)> data_of) {
  v1::VectorChunk chunk;
  chunk.set_vector(static_cast<uint32_t>(position));
  for (size_t offset = 0; offset < size;) {
    const size_t length = std::min(chunk_bytes, size - offset);
    chunk.set_offset(offset);
    const grpc::Slice slice = data_of(offset, length);
    if (!stream->Write(
            wire::EncodeWithData(wire::kChunkField, chunk, {&slice, 1}),
            limit)) {
      return false;
    }
    offset += length;
  }
  return true;
}

}  // namespace

bool SendVector(MessageStream* stream, int position, const void* data,
                size_t size, size_t chunk_bytes, const Limit& limit) {
  const auto* const bytes = static_cast<const std::byte*>(data);
  return SendChunks(stream, position, size, chunk_bytes, limit,
                    [&](size_t offset, size_t length) {
                      return stream->Lend({bytes + offset, length});
                    });
}

bool SendNarrowed(MessageStream* stream, int position, const float* data,
                  HalfType type, size_t size, size_t chunk_bytes,
                  const Limit& limit) {
  // Whole elements.
  chunk_bytes = std::max(chunk_bytes / kHalfBytes, size_t{1}) * kHalfBytes;
  return SendChunks(stream, position, size, chunk_bytes, limit,
                    [&](size_t offset, size_t length) {
                      return NarrowedSlice(data + offset / kHalfBytes, type,
                                           length / kHalfBytes);
                    });
}

void CopyInto(absl::Span<std::byte> place, const void* data,
              std::optional<HalfType> type) {
  if (type.has_value()) {
    Narrow(*type, static_cast<const float*>(data), place.size() / kHalfBytes,
           place.data());
  } else {
    std::memcpy(place.data(), data, place.size());
  }
}

bool SendShared(MessageStream* stream, int position, const void* data,
                std::optional<HalfType> type, absl::Span<std::byte> place,
                size_t chunk_bytes, const Limit& limit) {
  // Whole elements. Of one that is narrowed, as many as make up the chunk.
  constexpr size_t kWhole = sizeof(double);
  chunk_bytes = std::max(chunk_bytes / kWhole, size_t{1}) * kWhole;
  const size_t given = type.has_value() ? sizeof(float) / kHalfBytes : 1;
  v1::StepRequest message;
  v1::VectorChunk& chunk = *message.mutable_chunk();
  chunk.set_vector(static_cast<uint32_t>(position));
  for (size_t offset = 0; offset < place.size(); offset += chunk_bytes) {
    const absl::Span<std::byte> part = place.subspan(offset, chunk_bytes);
    CopyInto(part, static_cast<const std::byte*>(data) + offset * given, type);
    chunk.set_offset(offset);
    chunk.set_shared_bytes(part.size());
    if (!stream->Write(wire::Encode(message), limit)) return false;
  }
  return true;
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
