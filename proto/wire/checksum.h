// The checksum of updates: XXH3, 64 bit, seed 0, of the bytes in order.
#ifndef CONCORD_PROTO_WIRE_CHECKSUM_H_
#define CONCORD_PROTO_WIRE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

struct XXH3_state_s;

namespace concord::wire {

// Of one piece of memory.
uint64_t ChecksumOf(absl::Span<const std::byte> bytes);

// Of bytes that come piece by piece; how they are cut makes no difference.
// One thread at a time.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void Add(absl::Span<const std::byte> bytes);
  // Of everything added since construction or Reset.
  uint64_t Digest() const;
  void Reset();

 private:
  XXH3_state_s* const state_;
};

}  // namespace concord::wire

#endif  // CONCORD_PROTO_WIRE_CHECKSUM_H_
