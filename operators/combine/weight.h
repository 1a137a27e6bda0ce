// Weights of the vectors: how much of the direction each loss asks for.
#ifndef CONCORD_OPERATORS_COMBINE_WEIGHT_H_
#define CONCORD_OPERATORS_COMBINE_WEIGHT_H_

#include <cstdint>
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
// New weights in each step: softmax of standard normal numbers, a function of
// seed, step and the vectors' indexes (Lin, Ye, Zhang, Tsang: "Reasonable
// Effectiveness of Random Weighting", TMLR 2022).
struct RandomWeightOptions {
  uint64_t seed = 0;
  bool operator==(const RandomWeightOptions&) const = default;
};
// Dynamic weight average (Liu, Johns, Davison: "End-to-End Multi-Task Learning
// with Attention", CVPR 2019, eq. 7): the losses that fall slowest weigh most,
//   w_i = m exp(r_i / T) / sum_j exp(r_j / T),  r_i = L_i(t-1) / L_i(t-2),
// of the recorded losses L at the two solves before this one; 1 in the first
// two, and r_i = 1 where L_i(t-2) is 0.
struct DynamicWeightAverageOptions {
  double temperature = 2;  // T: finite, >= 0.01.
  bool operator==(const DynamicWeightAverageOptions&) const = default;
};
using WeightOptions =
    std::variant<EqualWeightOptions, GivenWeightOptions, RandomWeightOptions,
                 DynamicWeightAverageOptions>;

// INVALID_ARGUMENT (INVALID_OPTION) naming the field below `field` that is out
// of range for `num_vectors` vectors (0: any number).
absl::Status ValidateWeightModel(const WeightOptions& options, int num_vectors,
                                 absl::string_view field);

struct Weights {
  Eigen::VectorXd values;  // Of the rows.
  std::vector<double> state;
};

// The weights of the rows of `input` for an operator of `num_vectors` vectors
// (0: any number). `input.state` is what the last call returned.
// INVALID_ARGUMENT: INVALID_OPTION as above, LOSSES_MISSING.
absl::StatusOr<Weights> WeightsOf(const WeightOptions& options,
                                  const CombineInput& input, int num_vectors,
                                  absl::string_view field);

// Random weights as above, in their first form: softmax at `step` of `seed`.
Eigen::VectorXd RandomWeights(const CombineInput& input, uint64_t seed,
                              uint64_t step);

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
