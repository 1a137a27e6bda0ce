// What every combiner is: from the Gram matrix of the vectors to the
// coefficients of their combination. The direction is
// sum_i coefficients[i] * vector_i.
//
// A few methods look at one parameter at a time instead: they give no
// coefficients but the rule that makes an element of the direction from the
// vectors' elements there (column_rule.h).
//
// A combiner is immutable and has no side effects; what a stateful method
// remembers goes in and comes out as a small vector of numbers, committed by
// the caller together with the step. All algebra is fp64 on m x m matrices.
//
// Threads: every function may be called from several threads at once.
#ifndef CONCORD_OPERATORS_COMBINE_COMBINATION_H_
#define CONCORD_OPERATORS_COMBINE_COMBINATION_H_

#include <optional>
#include <string>
#include <vector>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "operators/kernels/column_rule.h"

namespace concord {

struct CombineInput {
  Eigen::MatrixXd gram;             // m x m, symmetric, finite.
  absl::Span<const double> losses;  // m recorded losses, or empty.
  absl::Span<const double> state;   // What the last committed solve returned.
  // Which of the operator's vectors the rows are; empty: 0 … m-1. Per-vector
  // options (given weights) and state are picked with it.
  absl::Span<const int> indexes;
};

struct Combination {
  std::vector<double> coefficients;  // m.
  bool conflict_free = false;      // Every cosine to a non-zero vector is > 0.
  bool pareto_stationary = false;  // They oppose each other: the result is 0.
  int rank = 0;       // Of the cosine matrix of the non-zero vectors.
  double length = 0;  // |direction|, from the Gram matrix.
  std::vector<double> state;
  // Of a method that works on columns: coefficients are then 0, and what they
  // would tell (flags, length) is false and 0.
  std::optional<ColumnRule> columns;
};

class Combiner {
 public:
  virtual ~Combiner() = default;
  virtual std::string name() const = 0;  // "ConFIGOperator"
  // Its solutions have `columns`.
  virtual bool works_on_columns() const { return false; }
  // Solve needs input.losses: INVALID_ARGUMENT (LOSSES_MISSING) without.
  virtual bool needs_losses() const { return false; }
  virtual absl::StatusOr<Combination> Solve(
      const CombineInput& input) const = 0;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_COMBINATION_H_
