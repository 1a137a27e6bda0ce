// The methods of an operator: messages of the contract and options of the
// engine, both ways. Values are carried over as they are; what is out of range
// is said by MomentumOperator::Validate, field by field.
//
// Threads: safe.
#ifndef CONCORD_PROTO_OPTIONS_OPERATOR_OPTIONS_H_
#define CONCORD_PROTO_OPTIONS_OPERATOR_OPTIONS_H_

#include "absl/status/status.h"
#include "concord/v1/operators.pb.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

// Sets momentum, combiner and loss recorder of `options`; its sizes stay.
// Absent fields mean their defaults. INVALID_ARGUMENT (INVALID_OPTION) for a
// number that is none of an enum's, with `options` as it was.
absl::Status ReadMethods(const v1::OperatorOptions& message,
                         OperatorOptions* options);

// With every default written out: equal options give equal messages.
v1::OperatorOptions ToMessage(const OperatorOptions& options);

}  // namespace concord

#endif  // CONCORD_PROTO_OPTIONS_OPERATOR_OPTIONS_H_
