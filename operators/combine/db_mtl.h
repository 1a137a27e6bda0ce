// DB-MTL's gradients of balanced lengths (Lin, Jiang, Ye, Zhang, Chen, Chen,
// Liu, Kwok: "Dual-Balancing for Multi-Task Learning", 2023): every vector at
// the length of the longest one, summed,
//   c_i = max_j n_j / n_i
// The paper takes them of moving averages (a momentum operator's rows) and of
// the losses' logarithms (whose gradients are the caller's to bring).
//
// Zero vectors are dropped. The direction does not change when vectors are
// multiplied by positive numbers. Guarantees nothing where vectors conflict.
// O(m^2), no state.
#ifndef CONCORD_OPERATORS_COMBINE_DB_MTL_H_
#define CONCORD_OPERATORS_COMBINE_DB_MTL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

struct DBMTLOptions {
  bool operator==(const DBMTLOptions&) const = default;
};

inline constexpr char kDBMTLName[] = "DBMTLOperator";

absl::StatusOr<std::unique_ptr<Combiner>> MakeDBMTL(const DBMTLOptions& options,
                                                    int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_DB_MTL_H_
