// The registers of the cpu passes: rows of either type in registers of doubles,
// and the arithmetic of elementwise.h on them.
//
// Included once per instruction set, like Highway's own -inl.h headers.
#if defined(CONCORD_OPERATORS_KERNELS_CPU_REGISTERS_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef CONCORD_OPERATORS_KERNELS_CPU_REGISTERS_INL_H_
#undef CONCORD_OPERATORS_KERNELS_CPU_REGISTERS_INL_H_
#else
#define CONCORD_OPERATORS_KERNELS_CPU_REGISTERS_INL_H_
#endif

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "operators/kernels/cpu_passes.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using hn::Sqrt;
HWY_INLINE float Sqrt(float x) { return std::sqrt(x); }
HWY_INLINE double Sqrt(double x) { return std::sqrt(x); }

#define CONCORD_ELEMENTWISE_FUNCTION HWY_INLINE
#include "operators/kernels/elementwise.h"
#undef CONCORD_ELEMENTWISE_FUNCTION

// All sums are taken in registers of doubles; fp32 rows are widened as they are
// loaded.
using Wide = hn::CappedTag<double, kPartialSums>;
using WideVec = hn::Vec<Wide>;
constexpr size_t kLanes = hn::MaxLanes(Wide());
constexpr size_t kRegisters = kPartialSums / kLanes;

template <class T>
HWY_INLINE WideVec LoadWide(const T* from) {
  if constexpr (std::is_same_v<T, double>) {
    return hn::LoadU(Wide(), from);
  } else {
    return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<float, Wide>(), from));
  }
}

// Products of fp32, and of fp32 with an ExactFactor, are exact in fp64, so
// there a fused multiply-add rounds like a multiplication and an addition; fp64
// rows get the two.
template <class T>
HWY_INLINE WideVec AddProduct(WideVec sum, WideVec a, WideVec b) {
  if constexpr (std::is_same_v<T, float>) {
    return hn::MulAdd(a, b, sum);
  } else {
    return sum + a * b;
  }
}

// Long vectors are fetched so many elements before a pass comes to them: it
// follows more vectors than the processor does by itself, which also begins
// anew at every page. What fits into the second level cache is not: there it
// would cost more than it brings.
constexpr size_t kFetchAhead = 512;
constexpr size_t kFetchedCount = 8 * kCpuBlock;
constexpr size_t kCacheLine = 64;  // Bytes.

// The kPartialSums elements kFetchAhead behind `at`, which may be beyond the
// vector's end.
template <class T>
HWY_INLINE void FetchToRead(const T* at) {
  for (size_t e = 0; e < kPartialSums; e += kCacheLine / sizeof(T)) {
    hwy::Prefetch(at + kFetchAhead + e);
  }
}
template <class T>
HWY_INLINE void FetchToWrite(const T* at) {
  for (size_t e = 0; e < kPartialSums; e += kCacheLine / sizeof(T)) {
    __builtin_prefetch(at + kFetchAhead + e, /*rw=*/1);
  }
}

// Registers of the vectors' own type, as wide as the machine's: fp32 results of
// two registers of doubles, fp64 ones of one.
template <class T>
struct Packed;

template <>
struct Packed<double> {
  using Tag = Wide;
  static constexpr size_t kWide = 1;
  static HWY_INLINE WideVec Pack(const WideVec* wide) { return wide[0]; }
};

template <>
struct Packed<float> {
  using Half = hn::Rebind<float, Wide>;
#if HWY_TARGET == HWY_SCALAR  // Registers of one lane do not combine.
  using Tag = Half;
  static constexpr size_t kWide = 1;
  static HWY_INLINE hn::Vec<Tag> Pack(const WideVec* wide) {
    return hn::DemoteTo(Half(), wide[0]);
  }
#else
  using Tag = hn::Twice<Half>;
  static constexpr size_t kWide = 2;
  static HWY_INLINE hn::Vec<Tag> Pack(const WideVec* wide) {
    return hn::Combine(Tag(), hn::DemoteTo(Half(), wide[1]),
                       hn::DemoteTo(Half(), wide[0]));
  }
#endif
};

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
