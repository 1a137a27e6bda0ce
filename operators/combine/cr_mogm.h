// CR-MOGM: another method's coefficients, smoothed over the steps (Zhou et al.:
// "On the Convergence of Stochastic Multi-Objective Gradient Manipulation and
// Beyond", NeurIPS 2022):
//   lambda_t = alpha lambda_(t-1) + (1 - alpha) c_t
// with c_t of the method that is wrapped; lambda_0 is given, or c_1. Flags and
// length are those of the smoothed combination. What the method promises for
// its own coefficients is not promised for the smoothed ones.
//
// State: lambda of every vector, which of them are known (a vector that a step
// does not bring keeps its own), and the wrapped method's state.
#ifndef CONCORD_OPERATORS_COMBINE_CR_MOGM_H_
#define CONCORD_OPERATORS_COMBINE_CR_MOGM_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

struct WrappedCombiner;  // combiner_options.h: the options of any combiner.

struct CRMOGMOptions {
  // The method that is smoothed; null: ConFIG. Not one that works on columns,
  // and wrapped at most kMostWrappings times.
  std::shared_ptr<const WrappedCombiner> combiner;
  double alpha = 0.9;  // In [0, 1].
  // lambda_0: one finite number per vector, or empty.
  std::vector<double> initial_weights;
  bool operator==(const CRMOGMOptions& other) const;
};

inline constexpr char kCRMOGMName[] = "CRMOGMOperator";
inline constexpr int kMostWrappings = 4;

absl::StatusOr<std::unique_ptr<Combiner>> MakeCRMOGM(
    const CRMOGMOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_CR_MOGM_H_
