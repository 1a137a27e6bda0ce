// IMTL-G (Liu et al.: "Towards Impartial Multi-task Learning", ICLR 2021, eq.
// 6): the direction in the plane of the vectors, sum_i c_i = 1, with equal
// projections onto all unit vectors. In Gram form, n_i = sqrt(K_ii):
//   v = K^+ n,  c = v / sum_i v_i.
// Two vectors have the closed form c = (n_2, n_1) / (n_1 + n_2), which needs no
// pseudo-inverse. For linearly dependent vectors K^+ is taken at the rank of
// the cosine matrix.
//
// Zero vectors are dropped. The projections are equal but need not be positive:
// where sum_i v_i < 0 the direction opposes every loss, and where no direction
// has equal projections (dependent vectors that do not fit) it is the
// least-squares one; both with conflict_free = false. |sum_i v_i| <= 1e-12
// sum_i |v_i| (no such direction in the plane) gives 0. Vectors that oppose
// each other (|V_r' 1| <= 1e-6 |1|, V_r the cosine matrix's range) give 0 with
// pareto_stationary. O(m^3).
#ifndef CONCORD_OPERATORS_COMBINE_IMTLG_H_
#define CONCORD_OPERATORS_COMBINE_IMTLG_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kIMTLGName[] = "IMTLGOperator";

struct IMTLGOptions {
  bool operator==(const IMTLGOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeIMTLG(const IMTLGOptions& options,
                                                    int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_IMTLG_H_
