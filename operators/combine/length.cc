#include "operators/combine/length.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "operators/combine/state.h"
#include "operators/errors.h"

namespace concord {
namespace {

// The one length for all vectors.
struct Tracked {
  const Eigen::VectorXd& norms;
  double specific;  // Of the tracked vector.

  double operator()(const ProjectionLengthOptions&) const { return 0; }
  double operator()(const TrackMinimumOptions&) const {
    return norms.minCoeff();
  }
  double operator()(const TrackMaximumOptions&) const {
    return norms.maxCoeff();
  }
  double operator()(const TrackHarmonicAverageOptions&) const {
    return 1 / norms.cwiseInverse().mean();
  }
  double operator()(const TrackArithmeticAverageOptions&) const {
    return norms.mean();
  }
  double operator()(const TrackGeometricAverageOptions&) const {
    return std::exp(norms.array().log().mean());
  }
  double operator()(const TrackSpecificOptions&) const { return specific; }
};

}  // namespace

absl::Status ValidateLength(const LengthOptions& options, int num_vectors,
                            absl::string_view field) {
  const auto* specific = std::get_if<TrackSpecificOptions>(&options);
  if (specific == nullptr) return absl::OkStatus();
  const int index = specific->index;
  if (index >= 0 && (num_vectors == 0 || index < num_vectors)) {
    return absl::OkStatus();
  }
  return InvalidField("INVALID_OPTION", field, absl::StrCat(index),
                      num_vectors == 0
                          ? std::string("at least 0")
                          : absl::StrCat("from 0 to ", num_vectors - 1));
}

absl::StatusOr<Eigen::VectorXd> TrackedLengths(const LengthOptions& options,
                                               const CombineInput& input,
                                               const Eigen::VectorXd& norms,
                                               absl::string_view field) {
  if (std::holds_alternative<ProjectionLengthOptions>(options)) return norms;
  double length_of_specific = 0;
  if (const auto* specific = std::get_if<TrackSpecificOptions>(&options)) {
    Eigen::Index row = 0;
    while (row < input.gram.rows() && IndexOf(input, row) != specific->index) {
      ++row;
    }
    if (row == input.gram.rows()) {
      return InvalidField("INVALID_OPTION", field,
                          absl::StrCat(specific->index),
                          "the index of a vector of this step");
    }
    length_of_specific = std::sqrt(input.gram(row, row));
  }
  const double tracked =
      std::visit(Tracked{norms, length_of_specific}, options);
  return Eigen::VectorXd(Eigen::VectorXd::Constant(norms.size(), tracked));
}

}  // namespace concord
