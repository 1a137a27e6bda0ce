// Combiners' options: messages of the contract and options of the engine.
//
// One line per method in each function. Values are carried over as they are;
// what is out of range is said by MakeCombiner, field by field.
//
// Threads: safe.
#ifndef CONCORD_PROTO_OPTIONS_COMBINER_OPTIONS_H_
#define CONCORD_PROTO_OPTIONS_COMBINER_OPTIONS_H_

#include "absl/status/statusor.h"
#include "concord/v1/operators.pb.h"
#include "operators/combine/combiner.h"

namespace concord {

// Absent fields mean their defaults, no method is ConFIG. INVALID_ARGUMENT
// (INVALID_OPTION) for a number that is none of an enum's.
absl::StatusOr<CombinerOptions> FromMessage(const v1::CombinerOptions& message);

// With every default written out: equal options give equal messages.
v1::CombinerOptions ToMessage(const CombinerOptions& options);

}  // namespace concord

#endif  // CONCORD_PROTO_OPTIONS_COMBINER_OPTIONS_H_
