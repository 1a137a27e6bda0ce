// PseudoMomentumOperator: M-ConFIG and its relatives, see momentum_operator.h.
#ifndef CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_
#define CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_

#include <memory>

#include "operators/momentum/operator_parts.h"

namespace concord {

inline constexpr char kPseudoMomentumName[] = "PseudoMomentumOperator";

// The momentum options of `options`, which are valid, are of this kind.
absl::StatusOr<std::unique_ptr<MomentumOperator>> MakePseudoMomentum(
    const OperatorOptions& options, OperatorParts parts);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_PSEUDO_MOMENTUM_H_
