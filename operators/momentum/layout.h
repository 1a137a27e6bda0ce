// The parameters inside a vector, and what becomes of vectors when they change:
// parameters are frozen or unfrozen, added, or put into another order.
//
// Segments are matched by name. Those of both layouts keep their elements, bit
// for bit; new ones begin with zeros; the others' are dropped. Of an operator's
// state everything else stays as it is, but the Gram matrix, which is computed
// anew from the vectors as they are then. So the combination that f_prev is of
// them holds for the common parameters as before, and is zero for new ones.
//
// Threads: functions and plain data.
#ifndef CONCORD_OPERATORS_MOMENTUM_LAYOUT_H_
#define CONCORD_OPERATORS_MOMENTUM_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

struct LayoutSegment {
  std::string name;
  std::vector<uint64_t> shape;  // Its product is the number of elements.
  bool operator==(const LayoutSegment&) const = default;
};
using LayoutSegments = std::vector<LayoutSegment>;

// Elements of all segments; SIZE_MAX where they cannot be counted.
size_t NumParameters(absl::Span<const LayoutSegment> layout);

struct LayoutChange {
  // `count` elements that lie at `from` in the old vectors and at `to` in the
  // new ones. By `to`; neighbours that stay neighbours are one run.
  struct Run {
    size_t from = 0;
    size_t to = 0;
    size_t count = 0;
  };
  size_t old_parameters = 0;
  size_t new_parameters = 0;
  std::vector<Run> runs;
};

// INVALID_ARGUMENT (INVALID_OPTION) names the segment ("layout.segments[2]",
// "previous.segments[0]") that has no name, whose name is there twice, or whose
// shape is another one than that name has had; and `layout` where it has no
// elements.
absl::StatusOr<LayoutChange> MatchLayouts(
    absl::Span<const LayoutSegment> previous,
    absl::Span<const LayoutSegment> layout);

// Makes the state of `from`, rearranged, that of `to`, which must have been
// made with the same options but for num_parameters, on the same `kernels`.
// `from` stays as it is. The errors of the device; then `to` is good for
// nothing.
absl::Status MoveState(const LayoutChange& change, MomentumOperator* from,
                       MomentumOperator* to, Kernels* kernels);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_LAYOUT_H_
