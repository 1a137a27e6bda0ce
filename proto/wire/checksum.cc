#include "proto/wire/checksum.h"

#include <xxhash.h>

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
