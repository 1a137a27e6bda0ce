// Compiled once per instruction set (foreach_target.h includes this file again
// and again); see cpu_passes.h for what it computes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "operators/kernels/cpu_passes.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "absl/container/fixed_array.h"
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
// Elements that the steps of one pass work on in turn: they stay in the first
// level cache, and what one step stores has left the store buffer when the next
// loads it in wider registers.
constexpr size_t kStretch = 512;
static_assert(kCpuBlock % kStretch == 0 && kStretch % kPartialSums == 0);

template <class T>
HWY_INLINE WideVec LoadWide(const T* from) {
  if constexpr (std::is_same_v<T, double>) {
    return hn::LoadU(Wide(), from);
  } else {
    return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<float, Wide>(), from));
  }
}

template <class T>
HWY_INLINE void StoreNarrow(WideVec value, T* to) {
  if constexpr (std::is_same_v<T, double>) {
    hn::StoreU(value, Wide(), to);
  } else {
    constexpr hn::Rebind<float, Wide> narrow;
    hn::StoreU(hn::DemoteTo(narrow, value), narrow, to);
  }
}

// Products of fp32 are exact in fp64, so there a fused multiply-add rounds like
// a multiplication and an addition; fp64 rows get the two.
template <class T>
HWY_INLINE WideVec AddProduct(WideVec sum, WideVec a, WideVec b) {
  if constexpr (std::is_same_v<T, float>) {
    return hn::MulAdd(a, b, sum);
  } else {
    return sum + a * b;
  }
}

// sums[j][l] += sum over e % kPartialSums == l of a[e] * rows[j][e], for R rows
// at once. `count` is a multiple of kPartialSums.
template <class T, size_t R>
HWY_INLINE void DotSweep(const T* HWY_RESTRICT a, const T* const* rows,
                         size_t count, double* sums) {
  WideVec acc[R][kRegisters];
  const T* row[R];
  for (size_t j = 0; j < R; ++j) {
    row[j] = rows[j];
    for (size_t u = 0; u < kRegisters; ++u) {
      acc[j][u] = hn::LoadU(Wide(), sums + j * kPartialSums + u * kLanes);
    }
  }
  for (size_t e = 0; e < count; e += kPartialSums) {
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      const WideVec x = LoadWide(a + e + u * kLanes);
      HWY_UNROLL(3)
      for (size_t j = 0; j < R; ++j) {
        acc[j][u] =
            AddProduct<T>(acc[j][u], x, LoadWide(row[j] + e + u * kLanes));
      }
    }
  }
  for (size_t j = 0; j < R; ++j) {
    for (size_t u = 0; u < kRegisters; ++u) {
      hn::StoreU(acc[j][u], Wide(), sums + j * kPartialSums + u * kLanes);
    }
  }
}

// Rows that one sweep takes: their partial sums fill three quarters of the
// registers of AVX2.
constexpr size_t kSweepRows = 3;

// The partial sums of one vector's dot products with itself and others while a
// block goes by.
template <class T>
class Dots {
 public:
  // `sums` has room for the partial sums of all rows and the vector itself.
  HWY_INLINE explicit Dots(double* sums) : sums_(sums) {}

  HWY_INLINE void Start(size_t rows) {
    std::fill_n(sums_, (rows + 1) * kPartialSums, 0.0);
  }

  // Adds elements [begin, begin + count) of the block, which begins at `a` and
  // at `offset` in the rows.
  HWY_INLINE void Add(const T* a, absl::Span<const void* const> rows,
                      size_t offset, size_t begin, size_t count) {
    const size_t whole = count / kPartialSums * kPartialSums;
    const T* group[kSweepRows];
    for (size_t first = 0; first <= rows.size(); first += kSweepRows) {
      const size_t width = std::min(kSweepRows, rows.size() + 1 - first);
      for (size_t j = 0; j < width; ++j) {
        group[j] = first + j == 0 ? a + begin
                                  : static_cast<const T*>(rows[first + j - 1]) +
                                        offset + begin;
      }
      double* sums = sums_ + first * kPartialSums;
      switch (width) {
        case 1:
          DotSweep<T, 1>(a + begin, group, whole, sums);
          break;
        case 2:
          DotSweep<T, 2>(a + begin, group, whole, sums);
          break;
        default:
          DotSweep<T, 3>(a + begin, group, whole, sums);
      }
      for (size_t e = whole; e < count; ++e) {
        for (size_t j = 0; j < width; ++j) {
          sums[j * kPartialSums + e % kPartialSums] +=
              static_cast<double>(a[begin + e]) *
              static_cast<double>(group[j][e]);
        }
      }
    }
  }

  HWY_INLINE void Finish(size_t rows, double* dots) const {
    for (size_t j = 0; j <= rows; ++j) {
      double sum = 0;
      for (size_t l = 0; l < kPartialSums; ++l) {
        sum += sums_[j * kPartialSums + l];
      }
      dots[j] = sum;
    }
  }

 private:
  double* const sums_;
};

template <class T>
HWY_INLINE void StageStretch(double beta_1, const T* gradient,
                             const T* momentum, T* staged, size_t count) {
  const double complement = 1 - beta_1;
  const WideVec beta_v = hn::Set(Wide(), beta_1);
  const WideVec complement_v = hn::Set(Wide(), complement);
  size_t e = 0;
  for (; e + kLanes <= count; e += kLanes) {
    StoreNarrow(NewMomentum(beta_v, complement_v, LoadWide(momentum + e),
                            LoadWide(gradient + e)),
                staged + e);
  }
  for (; e < count; ++e) {
    staged[e] = static_cast<T>(
        NewMomentum<double>(beta_1, complement, momentum[e], gradient[e]));
  }
}

template <class T>
void IngestOf(const IngestPass& pass, double* sums) {
  const size_t rows = pass.rows.size();
  Dots<T> dots(sums);
  for (size_t block = 0; block * kCpuBlock < pass.count; ++block) {
    const size_t offset = block * kCpuBlock;
    const size_t count = std::min(kCpuBlock, pass.count - offset);
    const T* gradient = static_cast<const T*>(pass.gradient) + offset;
    T* staged = pass.staged == nullptr ? nullptr
                                       : static_cast<T*>(pass.staged) + offset;
    const T* vector = staged == nullptr ? gradient : staged;
    double* out = pass.dots + block * (rows + 1);
    dots.Start(rows);
    for (size_t begin = 0; begin < count; begin += kStretch) {
      const size_t stretch = std::min(kStretch, count - begin);
      if (pass.momentum != nullptr) {
        StageStretch(pass.beta_1, gradient + begin,
                     static_cast<const T*>(pass.momentum) + offset + begin,
                     staged + begin, stretch);
      } else if (staged != nullptr && staged != gradient) {
        std::copy_n(gradient + begin, stretch, staged + begin);
      }
      dots.Add(vector, pass.rows, offset, begin, stretch);
    }
    dots.Finish(rows, out);
  }
}

// The linear combinations and the second momentum of a stretch; leaves r in
// `update`.
template <class T>
HWY_INLINE void CombineStretch(const CommitPass& pass, size_t offset,
                               size_t count, T* HWY_RESTRICT update,
                               T* HWY_RESTRICT second) {
  const bool with_pseudo = second != nullptr && pass.update_second;
  const WideVec beta = hn::Set(Wide(), pass.beta_2);
  const WideVec complement = hn::Set(Wide(), 1 - pass.beta_2);
  const size_t whole = count / kPartialSums * kPartialSums;
  for (size_t e = 0; e < whole; e += kPartialSums) {
    WideVec r[kRegisters], pseudo[kRegisters];
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      r[u] = hn::Zero(Wide());
      pseudo[u] = hn::Zero(Wide());
    }
    for (size_t j = 0; j < pass.rows.size(); ++j) {
      const T* row = static_cast<const T*>(pass.rows[j]) + offset + e;
      const WideVec c = hn::Set(Wide(), pass.direction[j]);
      if (with_pseudo) {
        const WideVec p = hn::Set(Wide(), pass.pseudo[j]);
        HWY_UNROLL(8)
        for (size_t u = 0; u < kRegisters; ++u) {
          const WideVec x = LoadWide(row + u * kLanes);
          r[u] = AddScaled(r[u], c, x);
          pseudo[u] = AddScaled(pseudo[u], p, x);
        }
      } else {
        HWY_UNROLL(8)
        for (size_t u = 0; u < kRegisters; ++u) {
          r[u] = AddScaled(r[u], c, LoadWide(row + u * kLanes));
        }
      }
    }
    if (with_pseudo) {
      for (size_t j = 0; j < pass.previous_rows.size(); ++j) {
        const T* row =
            static_cast<const T*>(pass.previous_rows[j]) + offset + e;
        const WideVec p = hn::Set(Wide(), pass.previous[j]);
        HWY_UNROLL(8)
        for (size_t u = 0; u < kRegisters; ++u) {
          pseudo[u] = AddScaled(pseudo[u], p, LoadWide(row + u * kLanes));
        }
      }
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        T* s = second + e + u * kLanes;
        StoreNarrow(NewSecondMomentum(beta, complement, LoadWide(s), pseudo[u]),
                    s);
      }
    }
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      StoreNarrow(r[u], update + e + u * kLanes);
    }
  }
  for (size_t e = whole; e < count; ++e) {
    double r = 0, pseudo = 0;
    for (size_t j = 0; j < pass.rows.size(); ++j) {
      const double x = static_cast<const T*>(pass.rows[j])[offset + e];
      r = AddScaled(r, pass.direction[j], x);
      if (with_pseudo) pseudo = AddScaled(pseudo, pass.pseudo[j], x);
    }
    if (with_pseudo) {
      for (size_t j = 0; j < pass.previous_rows.size(); ++j) {
        const double x =
            static_cast<const T*>(pass.previous_rows[j])[offset + e];
        pseudo = AddScaled(pseudo, pass.previous[j], x);
      }
      second[e] = static_cast<T>(NewSecondMomentum<double>(
          pass.beta_2, 1 - pass.beta_2, second[e], pseudo));
    }
    update[e] = static_cast<T>(r);
  }
}

template <class T>
HWY_INLINE void RescaleStretch(T correction, T epsilon, size_t count,
                               T* HWY_RESTRICT update,
                               const T* HWY_RESTRICT second) {
  constexpr hn::ScalableTag<T> tag;
  const size_t lanes = hn::Lanes(tag);
  const auto correction_v = hn::Set(tag, correction);
  const auto epsilon_v = hn::Set(tag, epsilon);
  size_t e = 0;
  for (; e + lanes <= count; e += lanes) {
    hn::StoreU(Rescaled(hn::LoadU(tag, update + e), hn::LoadU(tag, second + e),
                        correction_v, epsilon_v),
               tag, update + e);
  }
  for (; e < count; ++e) {
    update[e] = Rescaled<T>(update[e], second[e], correction, epsilon);
  }
}

template <class T>
void CommitOf(const CommitPass& pass, double* sums) {
  const size_t rows = pass.rows.size();
  Dots<T> dots(sums);
  for (size_t block = 0; block * kCpuBlock < pass.count; ++block) {
    const size_t offset = block * kCpuBlock;
    const size_t count = std::min(kCpuBlock, pass.count - offset);
    T* update = static_cast<T*>(pass.update) + offset;
    T* second = pass.second == nullptr ? nullptr
                                       : static_cast<T*>(pass.second) + offset;
    if (pass.update_dots != nullptr) dots.Start(rows);
    for (size_t begin = 0; begin < count; begin += kStretch) {
      const size_t stretch = std::min(kStretch, count - begin);
      T* second_here = second == nullptr ? nullptr : second + begin;
      CombineStretch(pass, offset + begin, stretch, update + begin,
                     second_here);
      if (second != nullptr) {
        RescaleStretch(static_cast<T>(pass.correction),
                       static_cast<T>(pass.epsilon), stretch, update + begin,
                       second_here);
      }
      if (pass.update_dots != nullptr) {
        dots.Add(update, pass.rows, offset, begin, stretch);
      }
    }
    if (pass.update_dots != nullptr) {
      dots.Finish(rows, pass.update_dots + block * (rows + 1));
    }
  }
}

void Ingest(const IngestPass& pass, double* sums) {
  pass.dtype == Dtype::kFloat32 ? IngestOf<float>(pass, sums)
                                : IngestOf<double>(pass, sums);
}

void Commit(const CommitPass& pass, double* sums) {
  pass.dtype == Dtype::kFloat32 ? CommitOf<float>(pass, sums)
                                : CommitOf<double>(pass, sums);
}

const char* Target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace concord {

HWY_EXPORT(Ingest);
HWY_EXPORT(Commit);
HWY_EXPORT(Target);

namespace {
// Partial sums of a vector and its rows. Made here, outside the code compiled
// for an instruction set: a library's inline function compiled there could be
// the copy that the linker keeps for everybody.
using Sums = absl::FixedArray<double, 9 * kPartialSums>;
}  // namespace

void CpuIngest(const IngestPass& pass) {
  Sums sums((pass.rows.size() + 1) * kPartialSums);
  HWY_DYNAMIC_DISPATCH(Ingest)(pass, sums.data());
}

void CpuCommit(const CommitPass& pass) {
  Sums sums((pass.rows.size() + 1) * kPartialSums);
  HWY_DYNAMIC_DISPATCH(Commit)(pass, sums.data());
}

const char* CpuPassesTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace concord
#endif  // HWY_ONCE
