// Which rows take part in a step's combination.
//
// With momentum a loss whose gradient has stopped coming, or has become zero,
// keeps its say: ConFIG looks at directions, and that of a momentum never
// decays. Two options, off by default, leave such losses out until they are
// alive again, and a step can name the losses that count in it.
#ifndef CONCORD_OPERATORS_MOMENTUM_PARTICIPATION_H_
#define CONCORD_OPERATORS_MOMENTUM_PARTICIPATION_H_

#include <cstdint>
#include <vector>

#include "Eigen/Core"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "operators/combine/combination.h"

namespace concord {

struct ParticipationOptions {
  // A loss that was last updated more than so many steps ago is left out; 0:
  // never.
  int64_t stale_after = 0;
  // A loss whose row is at most so long, of the longest row, is left out; in
  // [0, 1), 0: never.
  double min_relative_norm = 0;
  bool operator==(const ParticipationOptions&) const = default;
};

// INVALID_ARGUMENT (INVALID_OPTION) naming "stale_after" or
// "min_relative_norm".
absl::Status ValidateParticipation(const ParticipationOptions& options);

// INVALID_ARGUMENT naming "active" unless its indexes are distinct and in
// [0, num_vectors). Empty: all losses count.
absl::Status ValidateActive(absl::Span<const int> active, int num_vectors);

struct Participation {
  std::vector<int> rows;   // Positions of those that take part, ascending.
  std::vector<int> stale;  // Indexes of those that an option leaves out.
};

// Among rows with Gram matrix `gram` that belong to the losses `indexes`.
// `steps_since[i]`: steps since row i's loss was updated, 0 for this step.
Participation Participants(const ParticipationOptions& options,
                           const Eigen::MatrixXd& gram,
                           absl::Span<const int> indexes,
                           absl::Span<const int64_t> steps_since,
                           absl::Span<const int> active);

// The combiner's solution for the rows `rows` of `input`, the others with
// coefficient 0. A rule on columns is for the rows that take part.
absl::StatusOr<Combination> SolveAmong(const Combiner& combiner,
                                       const CombineInput& input,
                                       absl::Span<const int> rows);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_PARTICIPATION_H_
