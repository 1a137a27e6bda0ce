// Weights of the vectors: how much of the direction each loss asks for.
#ifndef CONCORD_OPERATORS_COMBINE_WEIGHT_H_
#define CONCORD_OPERATORS_COMBINE_WEIGHT_H_

#include <variant>
#include <vector>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "operators/combine/combination.h"

namespace concord {

struct EqualWeightOptions {
  bool operator==(const EqualWeightOptions&) const = default;
};
struct GivenWeightOptions {
  std::vector<double> weights;  // One per vector; finite, > 0.
  bool operator==(const GivenWeightOptions&) const = default;
};
using WeightOptions = std::variant<EqualWeightOptions, GivenWeightOptions>;

// INVALID_ARGUMENT (INVALID_OPTION) naming `field`, or its entry, unless there
// are `num_vectors` weights (0: any number), each finite and > 0.
absl::Status ValidateWeights(absl::Span<const double> weights, int num_vectors,
                             absl::string_view field);

// The weights of the rows of `input`, picked by input.indexes. INVALID_ARGUMENT
// (INVALID_OPTION) naming `field` where a row has none.
absl::StatusOr<Eigen::VectorXd> PickWeights(absl::Span<const double> weights,
                                            const CombineInput& input,
                                            absl::string_view field);

// A preference: weights as above, or empty for the mean.
absl::Status ValidatePreference(absl::Span<const double> preference,
                                int num_vectors, absl::string_view field);

// The preference of the rows of `input`; 1/m each where it is empty.
absl::StatusOr<Eigen::VectorXd> PickPreference(
    absl::Span<const double> preference, const CombineInput& input,
    absl::string_view field);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_WEIGHT_H_
