// A thread's elements: kElements neighbours of a vector, read and written as
// wide as the address allows.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTS_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "operators/kernels/cuda/number.h"
#include "operators/kernels/cuda/portable.h"

namespace concord::cuda {

inline constexpr int kElements = 4;

// Types of vectors in memory, beside the vectors' own.
enum class Stored { kOwn, kBfloat16, kFloat16 };

// A thread's elements at an address that allows to move them in one go.
template <class T>
struct alignas(kElements * sizeof(T) < 16 ? kElements * sizeof(T) : 16) Wide {
  T elements[kElements];
};

// `valid` of them are there (kElements but at a vector's end); the others are
// zero. kWide: all are, at an address that is a multiple of what they take, or
// of 16 bytes.
template <bool kWide, class T>
CONCORD_PORTABLE void Load(const T* at, int valid, T* to) {
  if constexpr (kWide) {
    const Wide<T> wide = *reinterpret_cast<const Wide<T>*>(at);
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) to[i] = wide.elements[i];
  } else {
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) to[i] = i < valid ? at[i] : T{0};
  }
}

template <bool kWide, class T>
CONCORD_PORTABLE void Store(const T* from, int valid, T* at) {
  if constexpr (kWide) {
    Wide<T> wide;
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) wide.elements[i] = from[i];
    *reinterpret_cast<Wide<T>*>(at) = wide;
  } else {
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) {
      if (i < valid) at[i] = from[i];
    }
  }
}

CONCORD_PORTABLE float OfBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}
CONCORD_PORTABLE uint32_t BitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// half_types.h's widening, of one element.
CONCORD_PORTABLE float Widened(Stored type, uint16_t half) {
  if (type == Stored::kBfloat16) return OfBits(uint32_t{half} << 16);
  constexpr uint32_t kRebias = 112u << 23;  // Of the exponent.
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = (half & 0x7fffu) << 13;
  uint32_t bits = magnitude + kRebias;
  if (magnitude > 0x0f7fffffu) {
    bits += kRebias;  // Infinity or NaN.
  } else if (magnitude < (1u << 23)) {
    constexpr uint32_t kOne = 113u << 23;  // 2^-14 (1 + x) - 2^-14
    bits = BitsOf(OfBits(magnitude + kOne) - OfBits(kOne));
  }
  return OfBits(sign | bits);
}

// The elements from `first` on of a vector that is stored as `type`.
template <bool kWide, class T>
CONCORD_PORTABLE void LoadStored(const void* vector, Stored type, size_t first,
                                 int valid, T* to) {
  if (type == Stored::kOwn) {
    Load<kWide>(static_cast<const T*>(vector) + first, valid, to);
    return;
  }
  uint16_t halves[kElements];
  Load<kWide>(static_cast<const uint16_t*>(vector) + first, valid, halves);
  CONCORD_UNROLL(kElements)
  for (int i = 0; i < kElements; ++i) {
    to[i] = static_cast<T>(Widened(type, halves[i]));
  }
}

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTS_H_
