// AlignedMTL (Senushkin, Patakin, Kuznetsov, Konushin: "Independent Component
// Alignment for Multi-Task Learning", CVPR 2023, algorithm 1): the vectors are
// replaced by the nearest ones whose Gram matrix is s^2 times a projection, and
// then combined with the preference's weights p. In Gram form, K = U L U':
//   c = s U L^(-1/2) U' p,  s^2 = the smallest, lower median or mean of L,
// over the eigenvalues above 1e-12 of the largest. Not scale-invariant.
//
// With independent vectors every product (K c)_i is that of aligned vectors,
// s (K^(1/2) p)_i: it can be negative. Zero vectors count in p. p without part
// in the range (|U' p| <= 1e-6 |p|, vectors that oppose each other): 0 with
// pareto_stationary. `rank` is that of K here. O(m^3).
#ifndef CONCORD_OPERATORS_COMBINE_ALIGNED_MTL_H_
#define CONCORD_OPERATORS_COMBINE_ALIGNED_MTL_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kAlignedMTLName[] = "AlignedMTLOperator";

enum class AlignedScale {
  kMinimum,
  kMedian,          // Of an even number of eigenvalues the lower middle one.
  kRootMeanSquare,  // Of the singular values: "rmse".
};

struct AlignedMTLOptions {
  std::vector<double> preference;  // One per vector, > 0; empty: 1/m each.
  AlignedScale scale = AlignedScale::kMinimum;
  bool operator==(const AlignedMTLOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeAlignedMTL(
    const AlignedMTLOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_ALIGNED_MTL_H_
