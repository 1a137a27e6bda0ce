// ConFIG: the direction with equal (or weighted) positive cosine to every
// vector (Liu, Chu, Thuerey: "ConFIG: Towards Conflict-free Training of Physics
// Informed Neural Networks", eq. 4-5), from the Gram matrix K:
//   n_i = sqrt(K_ii)   C_ij = K_ij / (n_i n_j)   a = C^+ w
//   |a|_C^2 = a' C a   length s = sum_i n_i (C a)_i / |a|_C
//   c_i = s a_i / (n_i |a|_C)
// Other lengths put one number in the place of the n_i of s: length.h.
// Rank: eigenvalues of C above 1e-12 of the largest, whatever the number of
// parameters. Zero vectors are dropped. Two vectors of equal weight have the
// closed form (n_1 + n_2) / 2 * (u_1 + u_2), which needs no cutoff.
// |V_r' w| <= 1e-6 |w| (the vectors oppose each other): zero, with
// pareto_stationary. Where no direction has the cosines asked for (dependent
// vectors that do not fit), the least-squares one, with conflict_free = false.
#ifndef CONCORD_OPERATORS_COMBINE_CONFIG_H_
#define CONCORD_OPERATORS_COMBINE_CONFIG_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"
#include "operators/combine/length.h"
#include "operators/combine/weight.h"

namespace concord {

struct ConFIGOptions {
  WeightOptions weight;
  LengthOptions length;
  bool operator==(const ConFIGOptions&) const = default;
};

inline constexpr char kConFIGName[] = "ConFIGOperator";

absl::StatusOr<std::unique_ptr<Combiner>> MakeConFIG(
    const ConFIGOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_CONFIG_H_
