#include "server/session/ingest.h"

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {

absl::Status ChunkCursor::Check(const ChunkPosition& position) const {
  if (complete()) {
    return InvalidField(
        "CHUNK_MISPLACED", "chunk.vector", absl::StrCat(position.vector),
        absl::StrCat("no chunk: all ", vectors_, " announced vectors are in"));
  }
  if (position.vector != vector_) {
    return InvalidField("CHUNK_MISPLACED", "chunk.vector",
                        absl::StrCat(position.vector), absl::StrCat(vector_));
  }
  if (position.offset != offset_) {
    return InvalidField("CHUNK_MISPLACED", "chunk.offset",
                        absl::StrCat(position.offset), absl::StrCat(offset_));
  }
  if (position.size > max_chunk_bytes_) {
    return InvalidField("CHUNK_TOO_LARGE", "chunk.data",
                        absl::StrCat(position.size, " bytes"),
                        absl::StrCat("at most ", max_chunk_bytes_, " bytes"));
  }
  if (position.size > room()) {
    return InvalidField("CHUNK_TOO_LARGE", "chunk.data",
                        absl::StrCat(position.size, " bytes"),
                        absl::StrCat("at most ", room(),
                                     " bytes, which the vector still lacks"));
  }
  return absl::OkStatus();
}

bool ChunkCursor::Advance(uint64_t size) {
  offset_ += size;
  if (offset_ < vector_bytes_) return false;
  ++vector_;
  offset_ = 0;
  return true;
}

}  // namespace concord
