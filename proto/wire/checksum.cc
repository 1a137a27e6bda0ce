#include "proto/wire/checksum.h"

#ifdef CONCORD_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace concord::wire {

uint64_t ChecksumOf(absl::Span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Checksum::Checksum() : state_(XXH3_createState()) { Reset(); }

Checksum::~Checksum() { XXH3_freeState(state_); }

void Checksum::Add(absl::Span<const std::byte> bytes) {
  XXH3_64bits_update(state_, bytes.data(), bytes.size());
}

uint64_t Checksum::Digest() const { return XXH3_64bits_digest(state_); }

void Checksum::Reset() { XXH3_64bits_reset(state_); }

}  // namespace concord::wire
