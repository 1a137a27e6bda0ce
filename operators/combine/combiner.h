// Combiners: from the Gram matrix of the vectors to the coefficients of their
// combination. The direction is sum_i coefficients[i] * vector_i.
//
// A combiner is immutable and has no side effects; what a stateful method
// remembers goes in and comes out as a small vector of numbers, committed by
// the caller together with the step. All algebra is fp64 on m x m matrices.
//
// Threads: every function may be called from several threads at once.
#ifndef CONCORD_OPERATORS_COMBINE_COMBINER_H_
#define CONCORD_OPERATORS_COMBINE_COMBINER_H_

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace concord {

struct EqualWeightOptions {
  bool operator==(const EqualWeightOptions&) const = default;
};
struct GivenWeightOptions {
  std::vector<double> weights;  // One per vector; finite, > 0.
  bool operator==(const GivenWeightOptions&) const = default;
};
using WeightOptions = std::variant<EqualWeightOptions, GivenWeightOptions>;

// |d| = sum_i <g_i, d> / |d| (ConFIG eq. 5).
struct ProjectionLengthOptions {
  bool operator==(const ProjectionLengthOptions&) const = default;
};
using LengthOptions = std::variant<ProjectionLengthOptions>;

struct ConFIGOptions {
  WeightOptions weight;
  LengthOptions length;
  bool operator==(const ConFIGOptions&) const = default;
};

using CombinerOptions = std::variant<ConFIGOptions>;

struct CombineInput {
  Eigen::MatrixXd gram;             // m x m, symmetric, finite.
  absl::Span<const double> losses;  // m recorded losses, or empty.
  absl::Span<const double> state;   // What the last committed solve returned.
  // Which of the operator's vectors the rows are; empty: 0 … m-1. Per-vector
  // options (given weights) are picked with it.
  absl::Span<const int> indexes;
};

struct Combination {
  std::vector<double> coefficients;  // m.
  bool conflict_free = false;      // Every cosine to a non-zero vector is > 0.
  bool pareto_stationary = false;  // They oppose each other: the result is 0.
  int rank = 0;       // Of the cosine matrix of the non-zero vectors.
  double length = 0;  // |direction|, from the Gram matrix.
  std::vector<double> state;
};

class Combiner {
 public:
  virtual ~Combiner() = default;
  virtual std::string name() const = 0;  // "ConFIGOperator"
  virtual absl::StatusOr<Combination> Solve(
      const CombineInput& input) const = 0;
};

// A combiner for operators over `num_vectors` vectors (0: any number).
// INVALID_ARGUMENT (INVALID_OPTION) names the field that is out of range.
absl::StatusOr<std::unique_ptr<Combiner>> MakeCombiner(
    const CombinerOptions& options, int num_vectors);

// Names of all combiners, as served.
std::vector<std::string> CombinerNames();

// Cosine matrix of a Gram matrix; rows and columns of zero vectors are 0.
Eigen::MatrixXd Cosines(const Eigen::MatrixXd& gram);

// INVALID_ARGUMENT (INVALID_MATRIX) unless `gram` is square, finite, symmetric
// to 1e-9 of its largest entry, with a diagonal >= 0. For matrices from
// outside.
absl::Status ValidateGram(const Eigen::MatrixXd& gram);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_COMBINER_H_
