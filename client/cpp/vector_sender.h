// Vectors in the caller's memory as the chunks of a stream.
#ifndef CONCORD_CLIENT_CPP_VECTOR_SENDER_H_
#define CONCORD_CLIENT_CPP_VECTOR_SENDER_H_

#include <cstddef>
#include <optional>

#include "absl/types/span.h"
#include "client/cpp/limit.h"
#include "client/cpp/message_stream.h"
#include "grpcpp/support/slice.h"
#include "operators/kernels/half_types.h"

namespace concord {

// Sends `size` bytes at `data` as VectorChunks of the vector in that position
// of the header, `chunk_bytes` each but the last. The memory is lent to the
// stream. False as for MessageStream::Write.
bool SendVector(MessageStream* stream, int position, const void* data,
                size_t size, size_t chunk_bytes, const Limit& limit);

// The same with fp32 elements that travel in 16 bits: each chunk is narrowed
// into memory of its own. `size` is what travels.
bool SendNarrowed(MessageStream* stream, int position, const float* data,
                  HalfType type, size_t size, size_t chunk_bytes,
                  const Limit& limit);

// The same with elements that are copied into `place`, memory shared with the
// server, chunk by chunk; `type`: what fp32 elements are narrowed to there.
bool SendShared(MessageStream* stream, int position, const void* data,
                std::optional<HalfType> type, absl::Span<std::byte> place,
                size_t chunk_bytes, const Limit& limit);

// Copies all of a vector into its place; `type` as for SendShared.
void CopyInto(absl::Span<std::byte> place, const void* data,
              std::optional<HalfType> type);

// `count` elements, narrowed into memory of their own.
grpc::Slice NarrowedSlice(const float* data, HalfType type, size_t count);

// Do the bytes at `a` and those at `b` share any?
bool Overlap(const void* a, size_t size_of_a, const void* b, size_t size_of_b);

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_VECTOR_SENDER_H_
