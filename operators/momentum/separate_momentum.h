// SeparateMomentumOperator: every loss has its own second momentum, see
// momentum_operator.h. As the documentation of conflictfree intends; upstream's
// class cannot be constructed.
#ifndef CONCORD_OPERATORS_MOMENTUM_SEPARATE_MOMENTUM_H_
#define CONCORD_OPERATORS_MOMENTUM_SEPARATE_MOMENTUM_H_

#include <memory>

#include "operators/momentum/operator_parts.h"

namespace concord {

inline constexpr char kSeparateMomentumName[] = "SeparateMomentumOperator";

// The momentum options of `options`, which are valid, are of this kind.
absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeSeparateMomentum(
    const OperatorOptions& options, OperatorParts parts);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_SEPARATE_MOMENTUM_H_
