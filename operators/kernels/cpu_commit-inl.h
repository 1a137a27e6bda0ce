// What the commit's pass does at one place of the vectors.
//
// Included once per instruction set, like Highway's own -inl.h headers.
#if defined(CONCORD_OPERATORS_KERNELS_CPU_COMMIT_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef CONCORD_OPERATORS_KERNELS_CPU_COMMIT_INL_H_
#undef CONCORD_OPERATORS_KERNELS_CPU_COMMIT_INL_H_
#else
#define CONCORD_OPERATORS_KERNELS_CPU_COMMIT_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>

#include "hwy/cache_control.h"
#include "operators/kernels/cpu_registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {

// Elements that the steps of a commit work on in turn: sums and results stay in
// the first level cache.
constexpr size_t kStretch = 1024;
static_assert(kCpuBlock % kStretch == 0 && kStretch % kPartialSums == 0);

// What a pass does with the second momentum.
enum class Second { kNone, kRead, kUpdate };

// A row with its coefficients in r and in the pseudo gradient.
template <class T>
struct CommitRow {
  const T* row;
  double direction;
  double pseudo;
};

template <class T>
HWY_INLINE CommitRow<T> RowOf(const CommitPass& pass, size_t j, size_t begin) {
  return {static_cast<const T*>(pass.rows[j]) + begin, pass.direction[j],
          pass.update_second ? pass.pseudo[j] : 0};
}
// One that takes part in the pseudo gradient alone.
template <class T>
HWY_INLINE CommitRow<T> PreviousOf(const CommitPass& pass, size_t p,
                                   size_t begin) {
  return {static_cast<const T*>(pass.previous_rows[p]) + begin, 0,
          pass.previous[p]};
}

// From the sums to second momentum and update, at element `e` of a stretch that
// begins at `begin`. For fp32 the pass's coefficients make exact products
// (ExactFactor).
template <class T, Second kSecond>
class UpdateTile {
 public:
  HWY_INLINE UpdateTile(const CommitPass& pass, size_t begin)
      : complement_(Set(1 - pass.beta_2)),
        correction_(Set(pass.correction)),
        epsilon_(Set(pass.epsilon)),
        update_(static_cast<T*>(pass.update) + begin) {
    if constexpr (kSecond != Second::kNone) {
      T* const second = static_cast<T*>(pass.second) + begin;
      old_second_ = second;
      second_ = kSecond == Second::kUpdate && pass.new_second != nullptr
                    ? static_cast<T*>(pass.new_second) + begin
                    : second;
    }
  }

  // A tile of kPartialSums elements, in two steps. A stretch takes the second
  // step one tile behind the first, so that its division and square root run
  // beside the next multiplications.
  HWY_INLINE void Store(size_t e, const WideVec* r,
                        const WideVec* pseudo) const {
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; u += P::kWide) {
      const size_t at = e + u * kLanes;
      if constexpr (kSecond == Second::kUpdate) {
        hn::StoreU(
            NewSecondMomentum(complement_, hn::LoadU(Tag(), old_second_ + at),
                              P::Pack(pseudo + u)),
            Tag(), second_ + at);
      }
      hn::StoreU(P::Pack(r + u), Tag(), update_ + at);
    }
  }
  HWY_INLINE void Fetch(size_t e) const {
    if constexpr (kSecond != Second::kNone) FetchToRead(old_second_ + e);
    FetchToWrite(update_ + e);
  }
  HWY_INLINE void Rescale(size_t e) const {
    if constexpr (kSecond == Second::kNone) return;
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; u += P::kWide) {
      const size_t at = e + u * kLanes;
      hn::StoreU(
          Rescaled(hn::LoadU(Tag(), update_ + at),
                   hn::LoadU(Tag(), second_ + at), correction_, epsilon_),
          Tag(), update_ + at);
    }
  }

 private:
  using P = Packed<T>;
  using Tag = typename P::Tag;
  using PackedVec = hn::Vec<Tag>;
  static HWY_INLINE PackedVec Set(double value) {
    return hn::Set(Tag(), static_cast<T>(value));
  }

  const PackedVec complement_, correction_, epsilon_;
  T* const update_;
  const T* old_second_ = nullptr;
  T* second_ = nullptr;  // Where it is after the pass; perhaps the old one.
};

// The pass at the few elements that fill no tile.
template <class T, Second kSecond>
HWY_INLINE void CommitRest(const CommitPass& pass, size_t begin, size_t end) {
  for (size_t e = begin; e < end; ++e) {
    double r = 0, pseudo = 0;
    for (size_t j = 0; j < pass.rows.size(); ++j) {
      const CommitRow<T> row = RowOf<T>(pass, j, e);
      const double x = *row.row;
      r += row.direction * x;
      if constexpr (kSecond == Second::kUpdate) pseudo += row.pseudo * x;
    }
    T* const update = static_cast<T*>(pass.update) + e;
    *update = static_cast<T>(r);
    if constexpr (kSecond == Second::kNone) continue;
    T second = static_cast<const T*>(pass.second)[e];
    if constexpr (kSecond == Second::kUpdate) {
      for (size_t p = 0; p < pass.previous_rows.size(); ++p) {
        const CommitRow<T> row = PreviousOf<T>(pass, p, e);
        pseudo += row.pseudo * static_cast<double>(*row.row);
      }
      second = NewSecondMomentum<T>(static_cast<T>(1 - pass.beta_2), second,
                                    static_cast<T>(pseudo));
      static_cast<T*>(pass.new_second != nullptr ? pass.new_second
                                                 : pass.second)[e] = second;
    }
    *update = Rescaled<T>(*update, second, static_cast<T>(pass.correction),
                          static_cast<T>(pass.epsilon));
  }
}

// A stretch of a pass with R rows and Q previous ones: all sums of a tile stay
// in registers.
template <class T, bool Fetched, Second kSecond, size_t R, size_t Q>
HWY_INLINE void CommitFew(const CommitPass& pass, size_t begin, size_t count) {
  std::array<CommitRow<T>, R + Q> rows;
  WideVec direction[R], pseudo[R + Q];
  for (size_t j = 0; j < R + Q; ++j) {
    rows[j] =
        j < R ? RowOf<T>(pass, j, begin) : PreviousOf<T>(pass, j - R, begin);
    if (j < R) direction[j] = hn::Set(Wide(), rows[j].direction);
    pseudo[j] = hn::Set(Wide(), rows[j].pseudo);
  }
  const UpdateTile<T, kSecond> tile(pass, begin);
  for (size_t e = 0; e < count; e += kPartialSums) {
    if constexpr (Fetched) {
      for (const CommitRow<T>& row : rows) FetchToRead(row.row + e);
      tile.Fetch(e);
    }
    WideVec r[kRegisters], f[kRegisters];
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      r[u] = hn::Zero(Wide());
      f[u] = hn::Zero(Wide());
    }
    HWY_UNROLL(8)
    for (size_t j = 0; j < R + Q; ++j) {
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        const WideVec x = LoadWide(rows[j].row + e + u * kLanes);
        if (j < R) r[u] = AddProduct<T>(r[u], direction[j], x);
        if constexpr (kSecond == Second::kUpdate) {
          f[u] = AddProduct<T>(f[u], pseudo[j], x);
        }
      }
    }
    tile.Store(e, r, f);
    if (e > 0) tile.Rescale(e - kPartialSums);
  }
  if (count > 0) tile.Rescale(count - kPartialSums);
}

// Rows that one sweep over a stretch takes, previous ones among them.
constexpr size_t kCommitSweep = 10;

template <class T>
struct Sweep {
  std::array<CommitRow<T>, kCommitSweep> rows;
  size_t in_direction;  // The first ones; the others are previous rows.
  size_t all;
  // What is read next: no processor follows dozens of streams by itself.
  std::array<const T*, kCommitSweep> fetched;
  size_t fetches;
};

// Adds the sweep's rows to the sums of a stretch, which the first one begins
// and the last one makes the update of.
template <class T, bool Fetched, Second kSecond, bool kFirst, bool kLast>
HWY_NOINLINE void CommitSweep(const Sweep<T>& sweep,
                              const UpdateTile<T, kSecond>& tile, size_t count,
                              double* HWY_RESTRICT r_sums,
                              double* HWY_RESTRICT f_sums) {
  for (size_t e = 0; e < count; e += kPartialSums) {
    for (size_t j = 0; j < sweep.fetches; ++j) {
      hwy::Prefetch(sweep.fetched[j] + e);
    }
    if constexpr (Fetched && kLast) tile.Fetch(e);
    WideVec r[kRegisters], f[kRegisters];
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      const size_t at = e + u * kLanes;
      r[u] = kFirst ? hn::Zero(Wide()) : hn::Load(Wide(), r_sums + at);
      f[u] = kFirst ? hn::Zero(Wide()) : hn::Load(Wide(), f_sums + at);
    }
    for (size_t j = 0; j < sweep.in_direction; ++j) {
      const CommitRow<T>& row = sweep.rows[j];
      const WideVec direction = hn::Set(Wide(), row.direction);
      const WideVec pseudo = hn::Set(Wide(), row.pseudo);
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        const WideVec x = LoadWide(row.row + e + u * kLanes);
        r[u] = AddProduct<T>(r[u], direction, x);
        if constexpr (kSecond == Second::kUpdate) {
          f[u] = AddProduct<T>(f[u], pseudo, x);
        }
      }
    }
    if constexpr (kSecond == Second::kUpdate) {
      for (size_t j = sweep.in_direction; j < sweep.all; ++j) {
        const CommitRow<T>& row = sweep.rows[j];
        const WideVec pseudo = hn::Set(Wide(), row.pseudo);
        HWY_UNROLL(8)
        for (size_t u = 0; u < kRegisters; ++u) {
          f[u] =
              AddProduct<T>(f[u], pseudo, LoadWide(row.row + e + u * kLanes));
        }
      }
    }
    if constexpr (kLast) {
      tile.Store(e, r, f);
      if (e > 0) tile.Rescale(e - kPartialSums);
    } else {
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        hn::Store(r[u], Wide(), r_sums + e + u * kLanes);
        hn::Store(f[u], Wide(), f_sums + e + u * kLanes);
      }
    }
  }
  if (kLast && count > 0) tile.Rescale(count - kPartialSums);
}

// A stretch of a pass with any number of rows: some at a time, the sums between
// two sweeps in the first level cache.
template <class T, bool Fetched, Second kSecond>
HWY_INLINE void CommitMany(const CommitPass& pass, size_t begin, size_t count) {
  HWY_ALIGN double r_sums[kStretch];
  HWY_ALIGN double f_sums[kStretch];
  const size_t in_direction = pass.rows.size();
  const size_t all =
      in_direction +
      (kSecond == Second::kUpdate ? pass.previous_rows.size() : 0);
  const auto row = [&](size_t j) HWY_ATTR {
    return j < in_direction ? RowOf<T>(pass, j, begin)
                            : PreviousOf<T>(pass, j - in_direction, begin);
  };
  const UpdateTile<T, kSecond> tile(pass, begin);
  const size_t sweeps =
      std::max<size_t>(1, (all + kCommitSweep - 1) / kCommitSweep);
  const size_t rows_of_sweep = (all + sweeps - 1) / sweeps;
  for (size_t k = 0; k < sweeps; ++k) {
    const size_t first = k * rows_of_sweep;
    Sweep<T> sweep;
    sweep.all = std::min(rows_of_sweep, all - std::min(all, first));
    sweep.in_direction =
        std::min(sweep.all, in_direction - std::min(in_direction, first));
    for (size_t j = 0; j < sweep.all; ++j) sweep.rows[j] = row(first + j);
    // The last sweep fetches what the next stretch begins with; the only one,
    // where it goes on.
    const bool last = k + 1 == sweeps;
    const size_t next = last ? 0 : first + rows_of_sweep;
    const size_t ahead = sweeps == 1 ? kFetchAhead : last ? kStretch : 0;
    sweep.fetches = Fetched ? std::min(rows_of_sweep, all - next) : 0;
    for (size_t j = 0; j < sweep.fetches; ++j) {
      sweep.fetched[j] = row(next + j).row + ahead;
    }
    if (sweeps == 1) {
      CommitSweep<T, Fetched, kSecond, true, true>(sweep, tile, count, r_sums,
                                                   f_sums);
    } else if (k == 0) {
      CommitSweep<T, Fetched, kSecond, true, false>(sweep, tile, count, r_sums,
                                                    f_sums);
    } else if (last) {
      CommitSweep<T, Fetched, kSecond, false, true>(sweep, tile, count, r_sums,
                                                    f_sums);
    } else {
      CommitSweep<T, Fetched, kSecond, false, false>(sweep, tile, count, r_sums,
                                                     f_sums);
    }
  }
}

template <class T, bool Fetched, Second kSecond>
HWY_INLINE void CommitStretchOf(const CommitPass& pass, size_t begin,
                                size_t count) {
  const size_t whole = count / kPartialSums * kPartialSums;
  const size_t rows = pass.rows.size();
  const size_t previous =
      kSecond == Second::kUpdate ? pass.previous_rows.size() : 0;
  if (rows == 2 && previous == (kSecond == Second::kUpdate ? 1 : 0)) {
    CommitFew<T, Fetched, kSecond, 2, kSecond == Second::kUpdate ? 1 : 0>(
        pass, begin, whole);
  } else if (rows == 3 && previous == (kSecond == Second::kUpdate ? 1 : 0)) {
    CommitFew<T, Fetched, kSecond, 3, kSecond == Second::kUpdate ? 1 : 0>(
        pass, begin, whole);
  } else {
    CommitMany<T, Fetched, kSecond>(pass, begin, whole);
  }
  CommitRest<T, kSecond>(pass, begin + whole, begin + count);
}

template <class T, bool Fetched>
HWY_INLINE void CommitStretch(const CommitPass& pass, size_t begin,
                              size_t count) {
  if (pass.second == nullptr) {
    CommitStretchOf<T, Fetched, Second::kNone>(pass, begin, count);
  } else if (pass.update_second) {
    CommitStretchOf<T, Fetched, Second::kUpdate>(pass, begin, count);
  } else {
    CommitStretchOf<T, Fetched, Second::kRead>(pass, begin, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
