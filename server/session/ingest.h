// The order in which vectors arrive in chunks: vector after vector, without
// gap.
#ifndef CONCORD_SERVER_SESSION_INGEST_H_
#define CONCORD_SERVER_SESSION_INGEST_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace concord {

// Where a chunk belongs: concord.v1.VectorChunk without its data.
struct ChunkPosition {
  uint32_t vector = 0;  // Position among the announced vectors.
  uint64_t offset = 0;  // Bytes from that vector's begin.
  uint64_t size = 0;    // Bytes of data.
};

// Follows the chunks of `vectors` vectors of `vector_bytes` each.
class ChunkCursor {
 public:
  ChunkCursor() = default;
  ChunkCursor(size_t vectors, uint64_t vector_bytes, uint64_t max_chunk_bytes)
      : vectors_(vectors),
        vector_bytes_(vector_bytes),
        max_chunk_bytes_(max_chunk_bytes) {}

  bool complete() const { return vector_ == vectors_; }
  size_t vector() const { return vector_; }
  uint64_t offset() const { return offset_; }
  // Bytes that the vector whose turn it is still lacks.
  uint64_t room() const { return vector_bytes_ - offset_; }

  // OK when this is the next chunk. INVALID_ARGUMENT: CHUNK_MISPLACED for a
  // gap, an overlap or another vector's turn; CHUNK_TOO_LARGE for more than
  // max_chunk_bytes, or beyond the vector's end. Fields are those of
  // VectorChunk, "chunk.offset". An empty chunk is allowed in its place.
  absl::Status Check(const ChunkPosition& position) const;

  // Moves over `size` bytes that Check has allowed; true when they end their
  // vector.
  bool Advance(uint64_t size);

 private:
  size_t vectors_ = 0;
  uint64_t vector_bytes_ = 0;
  uint64_t max_chunk_bytes_ = 0;
  size_t vector_ = 0;    // The vector whose turn it is.
  uint64_t offset_ = 0;  // Bytes of it that are in.
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_INGEST_H_
