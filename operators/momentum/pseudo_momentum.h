// PseudoMomentumOperator: M-ConFIG and its relatives, see momentum_operator.h.
#ifndef CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_
#define CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_

#include <memory>

#include "operators/momentum/momentum_operator.h"

namespace concord {

inline constexpr char kPseudoMomentumName[] = "PseudoMomentumOperator";

// The momentum options of `options`, which are valid, are of this kind.
absl::StatusOr<std::unique_ptr<MomentumOperator>> MakePseudoMomentum(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
    std::unique_ptr<Combiner> combiner, std::unique_ptr<LossRecorder> recorder);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_
