// Krum and Multi-Krum (Blanchard, El Mhamdi, Guerraoui, Stainer: "Machine
// Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
// 2017): each vector's score is the sum of its distances to its m - f - 2
// nearest others, f = n_byzantine; the n_selected with the lowest scores are
// averaged. In Gram form |v_i - v_j|^2 = K_ii + K_jj - 2 K_ij.
//
// The paper sums squared distances; the default sums plain ones. Ties go to the
// lowest index. Robust to f vectors that are anything, not made for conflicts:
// guarantees nothing there. Zero vectors count. A step needs at least f + 3
// vectors and n_selected: INVALID_ARGUMENT with fewer. O(m^2 log m).
#ifndef CONCORD_OPERATORS_COMBINE_KRUM_H_
#define CONCORD_OPERATORS_COMBINE_KRUM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kKrumName[] = "KrumOperator";

struct KrumOptions {
  int n_byzantine = 0;   // >= 0, at most the number of vectors - 3.
  int n_selected = 1;    // From 1 to the number of vectors.
  bool squared = false;  // The paper's squared distances.
  bool operator==(const KrumOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeKrum(const KrumOptions& options,
                                                   int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_KRUM_H_
