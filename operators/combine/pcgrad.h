// PCGrad (Yu, Kumar, Gupta, Levine, Hausman, Finn: "Gradient Surgery for
// Multi-Task Learning", NeurIPS 2020, algorithm 1): every vector is projected
// onto the normal plane of each other one that it conflicts with, one after the
// other; the results are summed. In Gram form, with row i as w = e_i:
//   for j in order:  p = (K w)_j;  if p < 0:  w_j -= p / K_jj
//   c = sum of the w.
// Two vectors: conflict-free. More: each result depends on the order and may
// conflict again with those met early. Zero vectors change nothing. An exactly
// opposing pair gives 0, with pareto_stationary. O(m^3).
//
// The paper draws a random order for every vector and step (SeededOrder); the
// default, ascending, needs no state. State: with SeededOrder the number of
// solved steps.
#ifndef CONCORD_OPERATORS_COMBINE_PCGRAD_H_
#define CONCORD_OPERATORS_COMBINE_PCGRAD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"
#include "operators/combine/visiting_order.h"

namespace concord {

inline constexpr char kPCGradName[] = "PCGradOperator";

struct PCGradOptions {
  VisitingOrder order;
  bool operator==(const PCGradOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakePCGrad(
    const PCGradOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_PCGRAD_H_
