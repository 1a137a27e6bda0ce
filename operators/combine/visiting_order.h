// The order in which a method that treats the vectors one after the other
// visits them.
#ifndef CONCORD_OPERATORS_COMBINE_VISITING_ORDER_H_
#define CONCORD_OPERATORS_COMBINE_VISITING_ORDER_H_

#include <cstdint>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "operators/combine/combination.h"

namespace concord {

// By index.
struct AscendingOrder {
  bool operator==(const AscendingOrder&) const = default;
};
// As given: every index of the operator's vectors once.
struct ExplicitOrder {
  std::vector<int> indexes;
  bool operator==(const ExplicitOrder&) const = default;
};
// A new random order for every vector in every step.
struct SeededOrder {
  uint64_t seed = 0;
  bool operator==(const SeededOrder&) const = default;
};
using VisitingOrder = std::variant<AscendingOrder, ExplicitOrder, SeededOrder>;

// INVALID_ARGUMENT (INVALID_OPTION) naming `field` unless an explicit order is
// a permutation of 0 … num_vectors - 1 (0: of its own length).
absl::Status ValidateOrder(const VisitingOrder& order, int num_vectors,
                           absl::string_view field);

// The rows of `input` in the order in which row i meets them, without i. Rows
// that an explicit order does not name come last, ascending.
std::vector<int> OthersOf(int i, const CombineInput& input,
                          const VisitingOrder& order, uint64_t step);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_VISITING_ORDER_H_
