// GradVac (Wang, Tsvetkov, Firat, Cao: "Gradient Vaccine: Investigating and
// Improving Multi-task Optimization in Massively Multilingual Models", ICLR
// 2021, algorithm 1): as PCGrad, with a target cosine per pair in the place of
// 0, the moving average of the cosines seen. With row i as g, target t_ij:
//   cosine f = <g, v_j> / (|g| |v_j|)
//   if f < t:  g += |g| (t sqrt(1 - f^2) - f sqrt(1 - t^2))
//                   / (|v_j| sqrt(1 - t^2)) v_j     then cos(g, v_j) = t
//   t <- (1 - beta) t + beta f.
// c sums the rows. Guarantees no freedom from conflict. O(m^3).
//
// A pair is skipped, and its target left alone, where v_j is zero or g is: a
// zero vector, or one projected to <= 1e-6 of its length. Targets are held
// within ±0.999, so that equal vectors do not divide by zero.
//
// State: the number of solved steps, then the targets of all pairs of the
// operator's vectors by rows, at first 0.
#ifndef CONCORD_OPERATORS_COMBINE_GRADVAC_H_
#define CONCORD_OPERATORS_COMBINE_GRADVAC_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"
#include "operators/combine/visiting_order.h"

namespace concord {

inline constexpr char kGradVacName[] = "GradVacOperator";

struct GradVacOptions {
  double beta = 0.5;    // In [0, 1]: the part of the newest cosine.
  VisitingOrder order;  // The paper: SeededOrder.
  bool operator==(const GradVacOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeGradVac(
    const GradVacOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_GRADVAC_H_
