// No momentum: every step combines the vectors it brings, see
// momentum_operator.h.
#ifndef CONCORD_OPERATORS_MOMENTUM_NO_MOMENTUM_H_
#define CONCORD_OPERATORS_MOMENTUM_NO_MOMENTUM_H_

#include <memory>

#include "operators/momentum/operator_parts.h"

namespace concord {

inline constexpr char kNoMomentumName[] = "none";

absl::StatusOr<std::unique_ptr<MomentumOperator>> MakeNoMomentum(
    const OperatorOptions& options, OperatorParts parts);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_NO_MOMENTUM_H_
