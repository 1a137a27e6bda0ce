// Length of ConFIG's direction d.
#ifndef CONCORD_OPERATORS_COMBINE_LENGTH_H_
#define CONCORD_OPERATORS_COMBINE_LENGTH_H_

#include <variant>

namespace concord {

// |d| = sum_i <g_i, d> / |d| (ConFIG eq. 5).
struct ProjectionLengthOptions {
  bool operator==(const ProjectionLengthOptions&) const = default;
};
using LengthOptions = std::variant<ProjectionLengthOptions>;

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_LENGTH_H_
