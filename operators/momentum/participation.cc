#include "operators/momentum/participation.h"

#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {

absl::Status ValidateParticipation(const ParticipationOptions& options) {
  if (options.stale_after < 0) {
    return InvalidField("INVALID_OPTION", "stale_after",
                        absl::StrCat(options.stale_after),
                        "0 (never) or a number of steps");
  }
  // The negation also refuses NaN.
  if (!(options.min_relative_norm >= 0 && options.min_relative_norm < 1)) {
    return InvalidField("INVALID_OPTION", "min_relative_norm",
                        absl::StrCat(options.min_relative_norm), "[0, 1)");
  }
  return absl::OkStatus();
}

absl::Status ValidateActive(absl::Span<const int> active, int num_vectors) {
  std::vector<bool> named(num_vectors, false);
  for (size_t i = 0; i < active.size(); ++i) {
    const std::string field = absl::StrCat("active[", i, "]");
    if (active[i] < 0 || active[i] >= num_vectors) {
      return InvalidField("INDEX_OUT_OF_RANGE", field, absl::StrCat(active[i]),
                          absl::StrCat("0 … ", num_vectors - 1));
    }
    if (named[active[i]]) {
      return InvalidField("DUPLICATE_INDEX", field, absl::StrCat(active[i]),
                          "every loss at most once");
    }
    named[active[i]] = true;
  }
  return absl::OkStatus();
}

Participation Participants(const ParticipationOptions& options,
                           const Eigen::MatrixXd& gram,
                           absl::Span<const int> indexes,
                           absl::Span<const int64_t> steps_since,
                           absl::Span<const int> active) {
  Participation result;
  const double longest =
      indexes.empty() ? 0 : std::sqrt(gram.diagonal().maxCoeff());
  for (size_t i = 0; i < indexes.size(); ++i) {
    if (!active.empty() && !absl::c_linear_search(active, indexes[i])) continue;
    const bool late =
        options.stale_after > 0 && steps_since[i] > options.stale_after;
    const bool small =
        options.min_relative_norm > 0 && longest > 0 &&
        std::sqrt(gram(i, i)) <= options.min_relative_norm * longest;
    if (late || small) {
      result.stale.push_back(indexes[i]);
    } else {
      result.rows.push_back(static_cast<int>(i));
    }
  }
  return result;
}

absl::StatusOr<Combination> SolveAmong(const Combiner& combiner,
                                       const CombineInput& input,
                                       absl::Span<const int> rows) {
  const Eigen::Index m = input.gram.rows();
  if (rows.size() == static_cast<size_t>(m)) return combiner.Solve(input);
  const std::vector<int> positions(rows.begin(), rows.end());
  std::vector<int> indexes;
  std::vector<double> losses;
  for (const int row : positions) {
    indexes.push_back(IndexOf(input, row));
    if (!input.losses.empty()) losses.push_back(input.losses[row]);
  }
  CombineInput part;
  part.gram = input.gram(positions, positions);
  part.losses = losses;
  part.state = input.state;
  part.indexes = indexes;
  absl::StatusOr<Combination> found = combiner.Solve(part);
  if (!found.ok()) return found.status();
  std::vector<double> coefficients(m, 0.0);
  for (size_t i = 0; i < positions.size(); ++i) {
    coefficients[positions[i]] = found->coefficients[i];
  }
  found->coefficients = std::move(coefficients);
  return found;
}

}  // namespace concord
