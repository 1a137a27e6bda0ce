// Dot products of a vector with itself and with rows, in partial sums whose
// order does not depend on the register width.
//
// Included once per instruction set, like Highway's own -inl.h headers.
#if defined(CONCORD_OPERATORS_KERNELS_CPU_DOTS_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef CONCORD_OPERATORS_KERNELS_CPU_DOTS_INL_H_
#undef CONCORD_OPERATORS_KERNELS_CPU_DOTS_INL_H_
#else
#define CONCORD_OPERATORS_KERNELS_CPU_DOTS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "absl/types/span.h"
#include "operators/kernels/cpu_registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {
// Where a sweep's vector comes from: memory …
template <class T>
struct StoredVector {
  const T* from;
  HWY_INLINE WideVec operator()(size_t e) const { return LoadWide(from + e); }
  HWY_INLINE void Fetch(size_t e) const { FetchToRead(from + e); }
};

// … or a momentum that is computed, stored and used as stored.
template <class T>
struct NewlyStaged {
  WideVec beta_1, one_minus_beta_1;
  const T* gradient;
  const T* momentum;
  T* staged;
  HWY_INLINE WideVec operator()(size_t e) const {
    const WideVec value =
        NewMomentum(beta_1, one_minus_beta_1, LoadWide(momentum + e),
                    LoadWide(gradient + e));
    if constexpr (std::is_same_v<T, double>) {
      hn::StoreU(value, Wide(), staged + e);
      return value;
    } else {
      constexpr hn::Rebind<float, Wide> narrow;
      const auto rounded = hn::DemoteTo(narrow, value);
      hn::StoreU(rounded, narrow, staged + e);
      return hn::PromoteTo(Wide(), rounded);
    }
  }
  HWY_INLINE void Fetch(size_t e) const {
    FetchToRead(gradient + e);
    FetchToRead(momentum + e);
    FetchToWrite(staged + e);
  }
};

// sums[l] += sum over e % kPartialSums == l of the vector's squares (Self),
// then the same of its products with R rows. `count` is a multiple of
// kPartialSums.
template <class T, bool Fetched, bool Self, size_t R, class Vector>
HWY_INLINE void DotSweep(const Vector& vector, const T* const* rows,
                         size_t count, double* sums) {
  constexpr size_t kFirst = Self ? 1 : 0;
  WideVec acc[kFirst + R][kRegisters];
  const T* row[R == 0 ? 1 : R];
  for (size_t j = 0; j < R; ++j) row[j] = rows[j];
  for (size_t j = 0; j < kFirst + R; ++j) {
    for (size_t u = 0; u < kRegisters; ++u) {
      acc[j][u] = hn::LoadU(Wide(), sums + j * kPartialSums + u * kLanes);
    }
  }
  for (size_t e = 0; e < count; e += kPartialSums) {
    if constexpr (Fetched) {
      // Once it was read for the first rows it is in the cache.
      if constexpr (Self) vector.Fetch(e);
      for (size_t j = 0; j < R; ++j) FetchToRead(row[j] + e);
    }
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      const size_t at = e + u * kLanes;
      const WideVec x = vector(at);
      if constexpr (Self) acc[0][u] = AddProduct<T>(acc[0][u], x, x);
      HWY_UNROLL(3)
      for (size_t j = 0; j < R; ++j) {
        acc[kFirst + j][u] =
            AddProduct<T>(acc[kFirst + j][u], x, LoadWide(row[j] + at));
      }
    }
  }
  for (size_t j = 0; j < kFirst + R; ++j) {
    for (size_t u = 0; u < kRegisters; ++u) {
      hn::StoreU(acc[j][u], Wide(), sums + j * kPartialSums + u * kLanes);
    }
  }
}

// Rows that one sweep takes, the vector itself among them: their partial sums
// fill three quarters of the registers of AVX2. With more than four on AVX-512
// addresses leave the registers, and blocks in the cache take a third longer.
constexpr size_t kSweepRows = kLanes >= 8 ? 4 : 3;

// The partial sums of one vector's dot products with itself and others while a
// block goes by. Fetched: the vectors are long (kFetchedCount).
template <class T, bool Fetched>
class Dots {
 public:
  // `sums` has room for the partial sums of all rows and the vector itself.
  HWY_INLINE explicit Dots(double* sums) : sums_(sums) {}

  HWY_INLINE void Start(size_t rows) {
    std::fill_n(sums_, (rows + 1) * kPartialSums, 0.0);
  }

  // Adds `count` elements. They are `vector`'s first (`stored` is where they
  // lie, at the latest when `vector` has been read) and the rows' from `offset`
  // on; the first is element `begin` of the block.
  template <class Vector>
  HWY_INLINE void Add(const Vector& vector, const T* stored,
                      absl::Span<const void* const> rows, size_t offset,
                      size_t count) {
    const size_t whole = count / kPartialSums * kPartialSums;
    const T* group[kSweepRows];
    const size_t first = std::min(kSweepRows - 1, rows.size());
    Collect(rows, 0, first, offset, group);
    Sweep<true, kSweepRows - 1>(first, vector, group, whole, sums_);
    const StoredVector<T> again{stored};
    for (size_t j = first; j < rows.size(); j += kSweepRows) {
      const size_t width = std::min(kSweepRows, rows.size() - j);
      Collect(rows, j, width, offset, group);
      Sweep<false, kSweepRows>(width, again, group, whole,
                               sums_ + (j + 1) * kPartialSums);
    }
  }

  // Adds the few elements from `whole` to `count` that fill no sweep.
  HWY_INLINE void AddRest(const T* stored, absl::Span<const void* const> rows,
                          size_t offset, size_t count) {
    for (size_t e = count / kPartialSums * kPartialSums; e < count; ++e) {
      double* sums = sums_ + e % kPartialSums;
      const double x = stored[e];
      sums[0] += x * x;
      for (size_t j = 0; j < rows.size(); ++j) {
        sums[(j + 1) * kPartialSums] +=
            x * static_cast<double>(static_cast<const T*>(rows[j])[offset + e]);
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
  // DotSweep of `width` rows, at most R.
  template <bool Self, size_t R, class Vector>
  static HWY_INLINE void Sweep(size_t width, const Vector& vector,
                               const T* const* rows, size_t count,
                               double* sums) {
    if (width == R) {
      DotSweep<T, Fetched, Self, R>(vector, rows, count, sums);
    } else if constexpr (R > 0) {
      Sweep<Self, R - 1>(width, vector, rows, count, sums);
    }
  }

  static HWY_INLINE void Collect(absl::Span<const void* const> rows,
                                 size_t first, size_t count, size_t offset,
                                 const T** group) {
    for (size_t j = 0; j < count; ++j) {
      group[j] = static_cast<const T*>(rows[first + j]) + offset;
    }
  }

  double* const sums_;
};

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
