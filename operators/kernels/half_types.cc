// Compiled once per instruction set (foreach_target.h includes this file again
// and again); see half_types.h for what it computes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "operators/kernels/half_types.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "operators/kernels/half_types.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Integers and floats that are never denormal: no processor's own conversion,
// which treats NaN and denormals in its own way.
using Words = hn::CappedTag<uint32_t, 16>;
using Signed = hn::RebindToSigned<Words>;
using Floats = hn::RebindToFloat<Words>;
using Halves = hn::Rebind<uint16_t, Words>;
using WordVec = hn::Vec<Words>;
constexpr size_t kLanes = hn::MaxLanes(Words());

HWY_INLINE WordVec Constant(uint32_t value) { return hn::Set(Words(), value); }

// Both below 2^31.
HWY_INLINE hn::Mask<Words> IsLess(WordVec a, WordVec b) {
  return hn::RebindMask(Words(),
                        hn::BitCast(Signed(), a) < hn::BitCast(Signed(), b));
}

struct Bfloat16 {
  static HWY_INLINE WordVec Widened(WordVec half) {
    return hn::ShiftLeft<16>(half);
  }

  static HWY_INLINE WordVec Narrowed(WordVec bits) {
    const WordVec high = hn::ShiftRight<16>(bits);
    const WordVec odd = hn::And(high, Constant(1));
    const WordVec rounded = hn::ShiftRight<16>(bits + (Constant(0x7fff) + odd));
    const auto is_nan =
        IsLess(Constant(0x7f800000), hn::And(bits, Constant(0x7fffffff)));
    return hn::IfThenElse(is_nan, hn::Or(high, Constant(0x40)), rounded);
  }
};

struct Float16 {
  // fp32's exponent is larger by 112 for the same number.
  static constexpr uint32_t kRebias = 112u << 23;

  static HWY_INLINE WordVec Widened(WordVec half) {
    const WordVec sign = hn::ShiftLeft<16>(hn::And(half, Constant(0x8000)));
    const WordVec magnitude =
        hn::ShiftLeft<13>(hn::And(half, Constant(0x7fff)));
    const WordVec normal = magnitude + Constant(kRebias);
    // 2^-14 (1 + x) - 2^-14 for the denormal 2^-14 x.
    const WordVec one = Constant(113u << 23);
    const WordVec denormal =
        hn::BitCast(Words(), hn::BitCast(Floats(), magnitude + one) -
                                 hn::BitCast(Floats(), one));
    const auto is_special = IsLess(Constant(0x0f7fffff), magnitude);
    const auto is_denormal = IsLess(magnitude, Constant(1u << 23));
    return hn::Or(
        sign, hn::IfThenElse(is_special, normal + Constant(kRebias),
                             hn::IfThenElse(is_denormal, denormal, normal)));
  }

  static HWY_INLINE WordVec Narrowed(WordVec bits) {
    const WordVec magnitude = hn::And(bits, Constant(0x7fffffff));
    const WordVec sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
    // From 65520 on the carry makes it infinity.
    const WordVec odd = hn::And(hn::ShiftRight<13>(magnitude), Constant(1));
    const WordVec normal = hn::ShiftRight<13>(magnitude - Constant(kRebias) +
                                              Constant(0xfff) + odd);
    // The unit in the last place of 0.5 is the smallest denormal.
    const WordVec half = Constant(126u << 23);
    const WordVec denormal =
        hn::BitCast(Words(), hn::BitCast(Floats(), magnitude) +
                                 hn::BitCast(Floats(), half)) -
        half;
    const WordVec nan =
        hn::Or(Constant(0x7e00),
               hn::And(hn::ShiftRight<13>(magnitude), Constant(0x1ff)));
    const auto is_denormal = IsLess(magnitude, Constant(113u << 23));
    const auto is_large = IsLess(Constant(0x477fffff), magnitude);
    const auto is_nan = IsLess(Constant(0x7f800000), magnitude);
    const WordVec large = hn::IfThenElse(is_nan, nan, Constant(0x7c00));
    return hn::Or(
        sign, hn::IfThenElse(is_large, large,
                             hn::IfThenElse(is_denormal, denormal, normal)));
  }
};

template <class Type>
HWY_INLINE void WidenLanes(const uint16_t* from, float* to) {
  const WordVec half = hn::PromoteTo(Words(), hn::LoadU(Halves(), from));
  hn::StoreU(hn::BitCast(Floats(), Type::Widened(half)), Floats(), to);
}

template <class Type>
HWY_INLINE void NarrowLanes(const float* from, uint16_t* to) {
  const WordVec bits = hn::BitCast(Words(), hn::LoadU(Floats(), from));
  hn::StoreU(
      hn::DemoteTo(Halves(), hn::BitCast(Signed(), Type::Narrowed(bits))),
      Halves(), to);
}

template <class Type>
void WidenOf(const uint16_t* from, size_t count, float* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) WidenLanes<Type>(from + i, to + i);
  if (i == count) return;
  uint16_t halves[kLanes] = {};
  float floats[kLanes];
  std::memcpy(halves, from + i, (count - i) * sizeof(uint16_t));
  WidenLanes<Type>(halves, floats);
  std::memcpy(to + i, floats, (count - i) * sizeof(float));
}

template <class Type>
void NarrowOf(const float* from, size_t count, uint16_t* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) NarrowLanes<Type>(from + i, to + i);
  if (i == count) return;
  float floats[kLanes] = {};
  uint16_t halves[kLanes];
  std::memcpy(floats, from + i, (count - i) * sizeof(float));
  NarrowLanes<Type>(floats, halves);
  std::memcpy(to + i, halves, (count - i) * sizeof(uint16_t));
}

void WidenAligned(HalfType type, const uint16_t* from, size_t count,
                  float* to) {
  type == HalfType::kBfloat16 ? WidenOf<Bfloat16>(from, count, to)
                              : WidenOf<Float16>(from, count, to);
}

void NarrowAligned(HalfType type, const float* from, size_t count,
                   uint16_t* to) {
  type == HalfType::kBfloat16 ? NarrowOf<Bfloat16>(from, count, to)
                              : NarrowOf<Float16>(from, count, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

namespace concord {

HWY_EXPORT(WidenAligned);
HWY_EXPORT(NarrowAligned);

namespace {

// Elements that go through memory of their own where an address is odd.
constexpr size_t kStretch = 1024;

bool IsAligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % alignof(uint16_t) == 0;
}

}  // namespace

void Widen(HalfType type, const void* from, size_t count, float* to) {
  if (IsAligned(from)) {
    HWY_DYNAMIC_DISPATCH(WidenAligned)
    (type, static_cast<const uint16_t*>(from), count, to);
    return;
  }
  uint16_t aligned[kStretch];
  for (size_t i = 0; i < count; i += kStretch) {
    const size_t stretch = std::min(kStretch, count - i);
    std::memcpy(aligned, static_cast<const std::byte*>(from) + i * kHalfBytes,
                stretch * kHalfBytes);
    HWY_DYNAMIC_DISPATCH(WidenAligned)(type, aligned, stretch, to + i);
  }
}

void Narrow(HalfType type, const float* from, size_t count, void* to) {
  if (IsAligned(to)) {
    HWY_DYNAMIC_DISPATCH(NarrowAligned)
    (type, from, count, static_cast<uint16_t*>(to));
    return;
  }
  uint16_t aligned[kStretch];
  for (size_t i = 0; i < count; i += kStretch) {
    const size_t stretch = std::min(kStretch, count - i);
    HWY_DYNAMIC_DISPATCH(NarrowAligned)(type, from + i, stretch, aligned);
    std::memcpy(static_cast<std::byte*>(to) + i * kHalfBytes, aligned,
                stretch * kHalfBytes);
  }
}

size_t HalfReader::Read(absl::Span<const std::byte> bytes, float* to) {
  if (bytes.empty()) return 0;
  size_t done = 0;
  if (has_first_) {
    const std::byte element[] = {first_, bytes.front()};
    Widen(type_, element, 1, to);
    bytes.remove_prefix(1);
    has_first_ = false;
    done = 1;
  }
  const size_t count = bytes.size() / kHalfBytes;
  Widen(type_, bytes.data(), count, to + done);
  if (bytes.size() % kHalfBytes != 0) {
    first_ = bytes.back();
    has_first_ = true;
  }
  return done + count;
}

}  // namespace concord
#endif  // HWY_ONCE
