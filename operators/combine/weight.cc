#include "operators/combine/weight.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {

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
