// The 16-bit types in which vectors may travel, and fp32, which they are
// computed in: bfloat16 (8 bits of exponent) and IEEE's binary16.
//
// The same bits on every instruction set, whatever the processor's mode for
// denormals:
//   widening   exact; a NaN keeps its sign and payload
//   narrowing  to nearest, ties to even. What is beyond the type's largest
//              number by half a unit in the last place or more becomes infinity
//              (fp16: from 65520 on), what is too small a denormal or zero, as
//              IEEE 754 has it. A NaN becomes a quiet one with its sign and the
//              upper bits of its payload.
//
// Threads: the functions may be called from any; an object from one at a time.
#ifndef CONCORD_OPERATORS_KERNELS_HALF_TYPES_H_
#define CONCORD_OPERATORS_KERNELS_HALF_TYPES_H_

#include <cstddef>

#include "absl/types/span.h"

namespace concord {

enum class HalfType { kBfloat16, kFloat16 };

inline constexpr size_t kHalfBytes = 2;

// `count` elements, in little endian, at any address; the ranges do not
// overlap.
void Widen(HalfType type, const void* from, size_t count, float* to);
void Narrow(HalfType type, const float* from, size_t count, void* to);

// Widens a vector that comes in pieces of any number of bytes, which may end
// inside an element.
class HalfReader {
 public:
  explicit HalfReader(HalfType type) : type_(type) {}

  // Elements that `bytes` more bytes complete.
  size_t Completes(size_t bytes) const {
    return (bytes + (has_first_ ? 1 : 0)) / kHalfBytes;
  }

  // Writes the elements that are complete with `bytes` to `to`, and says how
  // many they are: Completes(bytes.size()).
  size_t Read(absl::Span<const std::byte> bytes, float* to);

 private:
  HalfType type_;
  bool has_first_ = false;  // Of an element whose second byte is to come.
  std::byte first_{};
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_HALF_TYPES_H_
