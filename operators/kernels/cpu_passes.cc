// Compiled once per instruction set (foreach_target.h includes this file again
// and again); see cpu_passes.h for what it computes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "operators/kernels/cpu_passes.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "absl/container/fixed_array.h"
#include "absl/container/inlined_vector.h"
#include "operators/kernels/cpu_commit-inl.h"
#include "operators/kernels/cpu_dots-inl.h"
#include "operators/kernels/cpu_passes.h"
#include "operators/kernels/exact_factor.h"

HWY_BEFORE_NAMESPACE();
namespace concord {
namespace HWY_NAMESPACE {

// A block at a time through each sweep of the dots: the longer a row is read in
// one go, the better the processor follows it in memory. `widened`: a block of
// memory for gradients in 16 bits; it stays in the first level cache.
template <class T, bool Fetched>
void IngestOf(const IngestPass& pass, double* sums, float* widened) {
  const size_t rows = pass.rows.size();
  Dots<T, Fetched> dots(sums);
  for (size_t begin = 0; begin < pass.count; begin += kCpuBlock) {
    const size_t count = std::min(kCpuBlock, pass.count - begin);
    const T* gradient = static_cast<const T*>(pass.gradient) + begin;
    if constexpr (std::is_same_v<T, float>) {
      if (pass.gradient_type.has_value()) {
        Widen(*pass.gradient_type,
              static_cast<const uint16_t*>(pass.gradient) + begin, count,
              widened);
        gradient = widened;
      }
    }
    dots.Start(rows);
    const T* stored = gradient;
    if (pass.staged != nullptr) {
      T* const staged = static_cast<T*>(pass.staged) + begin;
      stored = staged;
      if (pass.momentum != nullptr) {
        const T* momentum = static_cast<const T*>(pass.momentum) + begin;
        const double complement = 1 - pass.beta_1;
        dots.Add(NewlyStaged<T>{hn::Set(Wide(), pass.beta_1),
                                hn::Set(Wide(), complement), gradient, momentum,
                                staged},
                 staged, pass.rows, begin, count);
        for (size_t i = count / kPartialSums * kPartialSums; i < count; ++i) {
          staged[i] = static_cast<T>(NewMomentum<double>(
              pass.beta_1, complement, momentum[i], gradient[i]));
        }
      } else if (staged != gradient) {
        std::copy_n(gradient, count, staged);
      }
    }
    if (pass.staged == nullptr || pass.momentum == nullptr) {
      dots.Add(StoredVector<T>{stored}, stored, pass.rows, begin, count);
    }
    dots.AddRest(stored, pass.rows, begin, count);
    dots.Finish(rows, pass.dots + begin / kCpuBlock * (rows + 1));
  }
}

template <class T, bool Fetched>
void CommitOf(const CommitPass& pass, double* sums) {
  const size_t rows = pass.rows.size();
  Dots<T, false> dots(sums);  // The commit has just read it all.
  for (size_t block = 0; block * kCpuBlock < pass.count; ++block) {
    const size_t offset = block * kCpuBlock;
    const size_t count = std::min(kCpuBlock, pass.count - offset);
    if (pass.update_dots == nullptr) {
      for (size_t begin = 0; begin < count; begin += kStretch) {
        CommitStretch<T, Fetched>(pass, offset + begin,
                                  std::min(kStretch, count - begin));
      }
      continue;
    }
    dots.Start(rows);
    for (size_t begin = 0; begin < count; begin += kStretch) {
      const size_t stretch = std::min(kStretch, count - begin);
      CommitStretch<T, Fetched>(pass, offset + begin, stretch);
      const T* update = static_cast<const T*>(pass.update) + offset + begin;
      dots.Add(StoredVector<T>{update}, update, pass.rows, offset + begin,
               stretch);
      dots.AddRest(update, pass.rows, offset + begin, stretch);
    }
    dots.Finish(rows, pass.update_dots + block * (rows + 1));
  }
}

template <class T>
void IngestAny(const IngestPass& pass, double* sums, float* widened) {
  pass.count < kFetchedCount ? IngestOf<T, false>(pass, sums, widened)
                             : IngestOf<T, true>(pass, sums, widened);
}

template <class T>
void CommitAny(const CommitPass& pass, double* sums) {
  pass.count < kFetchedCount ? CommitOf<T, false>(pass, sums)
                             : CommitOf<T, true>(pass, sums);
}

void Ingest(const IngestPass& pass, double* sums, float* widened) {
  pass.dtype == Dtype::kFloat32 ? IngestAny<float>(pass, sums, widened)
                                : IngestAny<double>(pass, sums, widened);
}

void Commit(const CommitPass& pass, double* sums) {
  pass.dtype == Dtype::kFloat32 ? CommitAny<float>(pass, sums)
                                : CommitAny<double>(pass, sums);
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

void CpuIngest(const IngestPass& pass) {
  Sums sums((pass.rows.size() + 1) * kPartialSums);
  // Not initialised: a block is widened before it is read.
  std::unique_ptr<float[]> widened;
  if (pass.gradient_type.has_value()) widened.reset(new float[kCpuBlock]);
  HWY_DYNAMIC_DISPATCH(Ingest)(pass, sums.data(), widened.get());
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
