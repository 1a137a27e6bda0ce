// Length of ConFIG's direction d: sum_i t_i cos(g_i, d) over the non-zero
// vectors, where t_i is |g_i| (ConFIG eq. 5) or one length for all of them.
#ifndef CONCORD_OPERATORS_COMBINE_LENGTH_H_
#define CONCORD_OPERATORS_COMBINE_LENGTH_H_

#include <variant>

#include "Eigen/Core"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "operators/combine/combination.h"

namespace concord {

// t_i = |g_i|: |d| = sum_i <g_i, d> / |d|.
struct ProjectionLengthOptions {
  bool operator==(const ProjectionLengthOptions&) const = default;
};
// t = the length of the shortest vector, of the longest one, or an average of
// all lengths; zero vectors do not count.
struct TrackMinimumOptions {
  bool operator==(const TrackMinimumOptions&) const = default;
};
struct TrackMaximumOptions {
  bool operator==(const TrackMaximumOptions&) const = default;
};
struct TrackHarmonicAverageOptions {
  bool operator==(const TrackHarmonicAverageOptions&) const = default;
};
struct TrackArithmeticAverageOptions {
  bool operator==(const TrackArithmeticAverageOptions&) const = default;
};
struct TrackGeometricAverageOptions {
  bool operator==(const TrackGeometricAverageOptions&) const = default;
};
// t = |g_index|. Where that vector is zero, so is the direction.
struct TrackSpecificOptions {
  int index = 0;  // Of the operator's vectors.
  bool operator==(const TrackSpecificOptions&) const = default;
};
using LengthOptions =
    std::variant<ProjectionLengthOptions, TrackMinimumOptions,
                 TrackMaximumOptions, TrackHarmonicAverageOptions,
                 TrackArithmeticAverageOptions, TrackGeometricAverageOptions,
                 TrackSpecificOptions>;

// INVALID_ARGUMENT (INVALID_OPTION) naming `field` unless a tracked index is
// one of `num_vectors` (0: any).
absl::Status ValidateLength(const LengthOptions& options, int num_vectors,
                            absl::string_view field);

// The t_i for vectors of lengths `norms`, the non-zero ones of `input`. At
// least one. INVALID_ARGUMENT (INVALID_OPTION) naming `field` where the tracked
// vector is not among the rows of `input`.
absl::StatusOr<Eigen::VectorXd> TrackedLengths(const LengthOptions& options,
                                               const CombineInput& input,
                                               const Eigen::VectorXd& norms,
                                               absl::string_view field);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_LENGTH_H_
