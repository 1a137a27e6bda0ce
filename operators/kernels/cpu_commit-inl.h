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

#include <cstddef>

#include "operators/kernels/cpu_registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {

// R: the number of rows where it is known to the compiler, 0 where not. For
// fp32 the pass's coefficients make exact products (ExactFactor).
template <class T, size_t R>
class CommitTile {
 public:
  HWY_INLINE explicit CommitTile(const CommitPass& pass)
      : pass_(pass),
        rows_(R == 0 ? pass.rows.size() : R),
        previous_(pass.previous_rows.size()),
        old_second_(static_cast<const T*>(pass.second)),
        second_(static_cast<T*>(pass.update_second && pass.new_second != nullptr
                                    ? pass.new_second
                                    : pass.second)),
        update_(static_cast<T*>(pass.update)) {
    for (size_t j = 0; j < R; ++j) {
      known_rows_[j] = {static_cast<const T*>(pass.rows[j]), pass.direction[j],
                        pass.update_second ? pass.pseudo[j] : 0};
    }
  }

  // A tile, kPartialSums elements from `e` on, in two steps: sums and second
  // momentum; then the rescaled update. A stretch takes the second step one
  // tile behind the first, so that its division and square root run beside the
  // next multiplications.
  HWY_INLINE void Combine(size_t e) const {
    WideVec r[kRegisters];
    if (pass_.update_second) {
      WideVec pseudo[kRegisters];
      CombineBoth(e, r, pseudo);
      UpdateSecond(e, pseudo);
    } else {
      CombineDirection(e, r);
    }
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; u += P::kWide) {
      hn::StoreU(P::Pack(r + u), Tag(), update_ + e + u * kLanes);
    }
  }

  HWY_INLINE void Rescale(size_t e) const {
    if (second_ == nullptr) return;
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; u += P::kWide) {
      const size_t at = e + u * kLanes;
      hn::StoreU(
          Rescaled(hn::LoadU(Tag(), update_ + at),
                   hn::LoadU(Tag(), second_ + at), correction_, epsilon_),
          Tag(), update_ + at);
    }
  }

  // The same for one element.
  HWY_INLINE void One(size_t e) const {
    double r = 0, pseudo = 0;
    for (size_t j = 0; j < rows_; ++j) {
      const double x = Row(j).row[e];
      r += Row(j).direction * x;
      pseudo += Row(j).pseudo * x;
    }
    if (second_ == nullptr) {
      update_[e] = static_cast<T>(r);
      return;
    }
    if (pass_.update_second) {
      for (size_t p = 0; p < previous_; ++p) {
        const double x = Previous(p)[e];
        pseudo += pass_.previous[p] * x;
      }
      second_[e] = NewSecondMomentum<T>(static_cast<T>(1 - pass_.beta_2),
                                        old_second_[e], static_cast<T>(pseudo));
    }
    update_[e] = Rescaled<T>(static_cast<T>(r), second_[e],
                             static_cast<T>(pass_.correction),
                             static_cast<T>(pass_.epsilon));
  }

 private:
  using P = Packed<T>;
  using Tag = typename P::Tag;
  using PackedVec = hn::Vec<Tag>;

  static HWY_INLINE PackedVec Set(double value) {
    return hn::Set(Tag(), static_cast<T>(value));
  }
  struct KnownRow {
    const T* row;
    double direction;
    double pseudo;
  };
  HWY_INLINE KnownRow Row(size_t j) const {
    if constexpr (R == 0) {
      return {static_cast<const T*>(pass_.rows[j]), pass_.direction[j],
              pass_.update_second ? pass_.pseudo[j] : 0};
    } else {
      return known_rows_[j];
    }
  }
  HWY_INLINE const T* Previous(size_t p) const {
    return static_cast<const T*>(pass_.previous_rows[p]);
  }
  HWY_INLINE void CombineDirection(size_t e, WideVec* r) const {
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) r[u] = hn::Zero(Wide());
    HWY_UNROLL(4)
    for (size_t j = 0; j < rows_; ++j) {
      const T* row = Row(j).row + e;
      const WideVec c = hn::Set(Wide(), Row(j).direction);
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        r[u] = AddProduct<T>(r[u], c, LoadWide(row + u * kLanes));
      }
    }
  }

  HWY_INLINE void CombineBoth(size_t e, WideVec* r, WideVec* pseudo) const {
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; ++u) {
      r[u] = hn::Zero(Wide());
      pseudo[u] = hn::Zero(Wide());
    }
    HWY_UNROLL(4)
    for (size_t j = 0; j < rows_; ++j) {
      const T* row = Row(j).row + e;
      const WideVec c = hn::Set(Wide(), Row(j).direction);
      const WideVec p = hn::Set(Wide(), Row(j).pseudo);
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        const WideVec x = LoadWide(row + u * kLanes);
        r[u] = AddProduct<T>(r[u], c, x);
        pseudo[u] = AddProduct<T>(pseudo[u], p, x);
      }
    }
    for (size_t j = 0; j < previous_; ++j) {
      const T* row = Previous(j) + e;
      const WideVec p = hn::Set(Wide(), pass_.previous[j]);
      HWY_UNROLL(8)
      for (size_t u = 0; u < kRegisters; ++u) {
        pseudo[u] = AddProduct<T>(pseudo[u], p, LoadWide(row + u * kLanes));
      }
    }
  }

  HWY_INLINE void UpdateSecond(size_t e, const WideVec* pseudo) const {
    HWY_UNROLL(8)
    for (size_t u = 0; u < kRegisters; u += P::kWide) {
      const size_t at = e + u * kLanes;
      hn::StoreU(
          NewSecondMomentum(complement_, hn::LoadU(Tag(), old_second_ + at),
                            P::Pack(pseudo + u)),
          Tag(), second_ + at);
    }
  }

  const CommitPass pass_;
  const size_t rows_;
  const size_t previous_;
  const T* const old_second_;
  T* const second_;  // Where it is after the pass; perhaps the old one.
  T* const update_;
  KnownRow known_rows_[R == 0 ? 1 : R] = {};
  const PackedVec complement_ = Set(1 - pass_.beta_2);
  const PackedVec correction_ = Set(pass_.correction);
  const PackedVec epsilon_ = Set(pass_.epsilon);
};

template <class T, size_t R>
HWY_INLINE void CommitStretch(const CommitPass& pass, size_t begin,
                              size_t count) {
  const CommitTile<T, R> tile(pass);
  const size_t whole = count / kPartialSums * kPartialSums;
  for (size_t e = 0; e < whole; e += kPartialSums) {
    tile.Combine(begin + e);
    if (e > 0) tile.Rescale(begin + e - kPartialSums);
  }
  if (whole > 0) tile.Rescale(begin + whole - kPartialSums);
  for (size_t e = whole; e < count; ++e) tile.One(begin + e);
}

}  // namespace HWY_NAMESPACE
}  // namespace concord
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
