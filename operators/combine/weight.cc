#include "operators/combine/weight.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/combine/state.h"
#include "operators/counter_random.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr double kLeastTemperature = 0.01;

std::string GivenField(absl::string_view field) {
  return absl::StrCat(field, ".given.weights");
}

absl::StatusOr<Weights> RandomStep(const RandomWeightOptions& options,
                                   const CombineInput& input) {
  const absl::StatusOr<std::vector<double>> state = StateOrZeros(input, 1);
  if (!state.ok()) return state.status();
  const uint64_t step = ToStep((*state)[0]);
  return Weights{RandomWeights(input, options.seed, step),
                 {static_cast<double>(step) + 1}};
}

// State: solves so far (2: or more), then L(t-1) and L(t-2) of every vector.
absl::StatusOr<Weights> DynamicAverage(
    const DynamicWeightAverageOptions& options, const CombineInput& input,
    int num_vectors) {
  const Eigen::Index m = input.gram.rows();
  if (input.losses.size() != static_cast<size_t>(m)) {
    return InvalidField("LOSSES_MISSING", "losses",
                        absl::StrCat(input.losses.size(), " values"),
                        "one per vector: the weights follow the losses");
  }
  const size_t size = NumVectors(input, num_vectors);
  absl::StatusOr<std::vector<double>> state = StateOrZeros(input, 1 + 2 * size);
  if (!state.ok()) return state.status();
  double* const last = state->data() + 1;
  double* const before = last + size;
  const bool known = state->front() >= 2;
  Weights weights{Eigen::VectorXd::Ones(m), {}};
  if (known) {
    for (Eigen::Index i = 0; i < m; ++i) {
      const int index = IndexOf(input, i);
      const double ratio = before[index] == 0 ? 1 : last[index] / before[index];
      weights.values[i] = ratio / options.temperature;
    }
    // Nothing changes when all exponents do by the same number.
    weights.values = (weights.values.array() - weights.values.maxCoeff()).exp();
    weights.values *= static_cast<double>(m) / weights.values.sum();
    // A loss whose weight left fp64 still asks for something.
    weights.values = weights.values.cwiseMax(1e-100);
  }
  for (Eigen::Index i = 0; i < m; ++i) {
    const int index = IndexOf(input, i);
    before[index] = last[index];
    last[index] = input.losses[i];
  }
  state->front() = known ? 2 : state->front() + 1;
  weights.state = *std::move(state);
  return weights;
}

}  // namespace

absl::Status ValidateWeightModel(const WeightOptions& options, int num_vectors,
                                 absl::string_view field) {
  if (const auto* given = std::get_if<GivenWeightOptions>(&options)) {
    return ValidateWeights(given->weights, num_vectors, GivenField(field));
  }
  if (const auto* dynamic =
          std::get_if<DynamicWeightAverageOptions>(&options)) {
    if (!(std::isfinite(dynamic->temperature) &&
          dynamic->temperature >= kLeastTemperature)) {
      return InvalidField(
          "INVALID_OPTION", absl::StrCat(field, ".dynamic_average.temperature"),
          absl::StrCat(dynamic->temperature),
          absl::StrCat("a finite number >= ", kLeastTemperature));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Weights> WeightsOf(const WeightOptions& options,
                                  const CombineInput& input, int num_vectors,
                                  absl::string_view field) {
  if (const auto* given = std::get_if<GivenWeightOptions>(&options)) {
    const absl::StatusOr<Eigen::VectorXd> picked =
        PickWeights(given->weights, input, GivenField(field));
    if (!picked.ok()) return picked.status();
    return Weights{*picked, {}};
  }
  if (const auto* random = std::get_if<RandomWeightOptions>(&options)) {
    return RandomStep(*random, input);
  }
  if (const auto* dynamic =
          std::get_if<DynamicWeightAverageOptions>(&options)) {
    return DynamicAverage(*dynamic, input, num_vectors);
  }
  return Weights{Eigen::VectorXd::Ones(input.gram.rows()), {}};
}

Eigen::VectorXd RandomWeights(const CombineInput& input, uint64_t seed,
                              uint64_t step) {
  const RandomKey key = {seed, step, 0};
  Eigen::VectorXd weights(input.gram.rows());
  for (Eigen::Index i = 0; i < weights.size(); ++i) {
    weights[i] = NormalAt(key, IndexOf(input, i));
  }
  // Normal numbers of 52 bits are below 9: exp cannot overflow.
  weights = weights.array().exp();
  return weights / weights.sum();
}

absl::Status ValidateWeights(absl::Span<const double> weights, int num_vectors,
                             absl::string_view field) {
  if (num_vectors > 0 && weights.size() != static_cast<size_t>(num_vectors)) {
    return InvalidField("INVALID_OPTION", field,
                        absl::StrCat(weights.size(), " weights"),
                        absl::StrCat(num_vectors, ", one per vector"));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] <= 0) {
      return InvalidField("INVALID_OPTION", absl::StrCat(field, "[", i, "]"),
                          absl::StrCat(weights[i]), "a finite number > 0");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Eigen::VectorXd> PickWeights(absl::Span<const double> weights,
                                            const CombineInput& input,
                                            absl::string_view field) {
  Eigen::VectorXd picked(input.gram.rows());
  for (Eigen::Index i = 0; i < picked.size(); ++i) {
    const size_t index = input.indexes.empty() ? i : input.indexes[i];
    if (index >= weights.size()) {
      return InvalidField(
          "INVALID_OPTION", field, absl::StrCat(weights.size(), " weights"),
          absl::StrCat("one per vector; vector ", index, " has none"));
    }
    picked[i] = weights[index];
  }
  return picked;
}

absl::Status ValidatePreference(absl::Span<const double> preference,
                                int num_vectors, absl::string_view field) {
  if (preference.empty()) return absl::OkStatus();
  return ValidateWeights(preference, num_vectors, field);
}

absl::StatusOr<Eigen::VectorXd> PickPreference(
    absl::Span<const double> preference, const CombineInput& input,
    absl::string_view field) {
  if (!preference.empty()) return PickWeights(preference, input, field);
  const Eigen::Index m = input.gram.rows();
  return Eigen::VectorXd(Eigen::VectorXd::Constant(m, 1.0 / m));
}

}  // namespace concord
