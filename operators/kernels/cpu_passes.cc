// Compiled once per instruction set (foreach_target.h includes this file again
// and again); see cpu_passes.h for what it computes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "operators/kernels/cpu_passes.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/base/casts.h"
#include "absl/container/fixed_array.h"
#include "absl/container/inlined_vector.h"
#include "operators/kernels/cpu_commit-inl.h"
#include "operators/kernels/cpu_dots-inl.h"
#include "operators/kernels/cpu_passes.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {

// Elements that the steps of one pass work on in turn: they stay in the first
// level cache, and what one step stores has left the store buffer when the next
// loads it in wider registers.
constexpr size_t kStretch = 512;
static_assert(kCpuBlock % kStretch == 0 && kStretch % kPartialSums == 0);

template <class T>
void IngestOf(const IngestPass& pass, double* sums) {
  const size_t rows = pass.rows.size();
  Dots<T> dots(sums);
  for (size_t block = 0; block * kCpuBlock < pass.count; ++block) {
    const size_t block_end = std::min((block + 1) * kCpuBlock, pass.count);
    dots.Start(rows);
    for (size_t e = block * kCpuBlock; e < block_end; e += kStretch) {
      const size_t count = std::min(kStretch, block_end - e);
      const T* gradient = static_cast<const T*>(pass.gradient) + e;
      if (pass.staged == nullptr) {
        dots.Add(StoredVector<T>{gradient}, gradient, pass.rows, e, count);
        dots.AddRest(gradient, pass.rows, e, count);
        continue;
      }
      T* staged = static_cast<T*>(pass.staged) + e;
      if (pass.momentum == nullptr) {
        if (staged != gradient) std::copy_n(gradient, count, staged);
        dots.Add(StoredVector<T>{staged}, staged, pass.rows, e, count);
      } else {
        const T* momentum = static_cast<const T*>(pass.momentum) + e;
        const double complement = 1 - pass.beta_1;
        dots.Add(NewlyStaged<T>{hn::Set(Wide(), pass.beta_1),
                                hn::Set(Wide(), complement), gradient, momentum,
                                staged},
                 staged, pass.rows, e, count);
        for (size_t i = count / kPartialSums * kPartialSums; i < count; ++i) {
          staged[i] = static_cast<T>(NewMomentum<double>(
              pass.beta_1, complement, momentum[i], gradient[i]));
        }
      }
      dots.AddRest(staged, pass.rows, e, count);
    }
    dots.Finish(rows, pass.dots + block * (rows + 1));
  }
}

template <class T, size_t R>
HWY_INLINE void CommitRows(const CommitPass& pass, double* sums) {
  const size_t rows = pass.rows.size();
  Dots<T> dots(sums);
  for (size_t block = 0; block * kCpuBlock < pass.count; ++block) {
    const size_t offset = block * kCpuBlock;
    const size_t count = std::min(kCpuBlock, pass.count - offset);
    if (pass.update_dots == nullptr) {
      CommitStretch<T, R>(pass, offset, count);
      continue;
    }
    dots.Start(rows);
    for (size_t begin = 0; begin < count; begin += kStretch) {
      const size_t stretch = std::min(kStretch, count - begin);
      CommitStretch<T, R>(pass, offset + begin, stretch);
      const T* update = static_cast<const T*>(pass.update) + offset + begin;
      dots.Add(StoredVector<T>{update}, update, pass.rows, offset + begin,
               stretch);
      dots.AddRest(update, pass.rows, offset + begin, stretch);
    }
    dots.Finish(rows, pass.update_dots + block * (rows + 1));
  }
}

template <class T>
void CommitOf(const CommitPass& pass, double* sums) {
  switch (pass.rows.size()) {
    case 2:
      return CommitRows<T, 2>(pass, sums);
    case 3:
      return CommitRows<T, 3>(pass, sums);
    default:
      return CommitRows<T, 0>(pass, sums);
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

using Coefficients = absl::InlinedVector<double, 8>;

Coefficients ExactFactors(absl::Span<const double> coefficients) {
  Coefficients exact(coefficients.begin(), coefficients.end());
  for (double& coefficient : exact) coefficient = ExactFactor(coefficient);
  return exact;
}
}  // namespace

double ExactFactor(double coefficient) {
  // Below, products would leave fp64's range at its lower end.
  if (std::abs(coefficient) < 1e-200) return 0;
  constexpr int kDropped = 53 - 29;
  uint64_t bits = absl::bit_cast<uint64_t>(coefficient);
  bits += uint64_t{1} << (kDropped - 1);  // To nearest; carries as it should.
  bits &= ~uint64_t{0} << kDropped;
  const double rounded = absl::bit_cast<double>(bits);
  return std::isfinite(rounded) ? rounded : coefficient;
}

void CpuIngest(const IngestPass& pass) {
  Sums sums((pass.rows.size() + 1) * kPartialSums);
  HWY_DYNAMIC_DISPATCH(Ingest)(pass, sums.data());
}

void CpuCommit(const CommitPass& pass) {
  Sums sums((pass.rows.size() + 1) * kPartialSums);
  if (pass.dtype == Dtype::kFloat64) {
    HWY_DYNAMIC_DISPATCH(Commit)(pass, sums.data());
    return;
  }
  const Coefficients direction = ExactFactors(pass.direction);
  const Coefficients pseudo = ExactFactors(pass.pseudo);
  const Coefficients previous = ExactFactors(pass.previous);
  CommitPass exact = pass;
  exact.direction = direction;
  exact.pseudo = pseudo;
  exact.previous = previous;
  HWY_DYNAMIC_DISPATCH(Commit)(exact, sums.data());
}

const char* CpuPassesTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace concord
#endif  // HWY_ONCE
