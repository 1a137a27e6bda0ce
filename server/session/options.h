// The options of a session and of a combination: from their messages to the
// engine's types, checked field by field, with every default written out.
#ifndef CONCORD_SERVER_SESSION_OPTIONS_H_
#define CONCORD_SERVER_SESSION_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "concord/v1/combine.pb.h"
#include "concord/v1/operators.pb.h"
#include "concord/v1/session.pb.h"
#include "operators/combine/combiner.h"
#include "operators/dtype.h"
#include "operators/momentum/momentum_operator.h"
#include "server/session/limits.h"

namespace concord {

// `session` with every option that is fixed at creation given its value, and
// everything that the server sets empty. INVALID_ARGUMENT names the field
// ("session.options.momentum.pseudo.beta_1"), RESOURCE_EXHAUSTED the limit.
absl::StatusOr<v1::Session> NormalizeSession(const v1::Session& session,
                                             const Limits& limits);

// `current`, normalized, with the request's fields in its place and normalized
// again. INVALID_ARGUMENT: INVALID_OPTION names the field or a path that is
// none, IMMUTABLE_OPTION one that is fixed at creation.
absl::StatusOr<v1::Session> MergeUpdate(const v1::Session& current,
                                        const v1::UpdateSessionRequest& request,
                                        const Limits& limits);

// An error of the engine about a session's options, with the field's place in
// the session.
absl::Status InSession(const absl::Status& status, const v1::Session& session);

// Of a normalized session.
OperatorOptions ToOperatorOptions(const v1::Session& normalized);

// The operator of one combination, checked: "none" with all vectors.
absl::StatusOr<OperatorOptions> ToOperatorOptions(
    const v1::CombineHeader& header, const Limits& limits);

// The options of a combiner of `num_vectors` vectors, checked; `prefix` is
// where they are in the request ("" for a field `combiner` of it).
absl::StatusOr<CombinerOptions> ToCombinerOptions(
    const v1::CombinerOptions& message, int num_vectors,
    absl::string_view prefix);

// The first option in which two normalized sessions differ. One without a
// layout says nothing of it.
struct Difference {
  std::string field;  // "num_workers"
  std::string left, right;
};
std::optional<Difference> FirstDifference(const v1::Session& left,
                                          const v1::Session& right);

// Vectors' memory of an operator and of the updates it needs on a device
// (`host_accessible`: commits go straight into the update), and of the updates
// before the last one that are kept, and of gathered vectors. Updates are kept
// as they are sent, in `update_type`. LIMIT_EXCEEDED
// where the size is beyond what can be counted.
absl::StatusOr<uint64_t> ReservedBytes(const OperatorOptions& options,
                                       bool host_accessible,
                                       bool keeps_committed,
                                       uint64_t update_history,
                                       uint64_t gathered_vectors,
                                       v1::DataType update_type);

// Vectors that a normalized session keeps besides its operator's because
// several ranks may bring the same loss.
uint64_t GatheredVectors(const v1::Session& normalized);

// {id} of a session's name is well-formed.
bool IsSessionId(absl::string_view id);

v1::DataType ToMessage(Dtype dtype);

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_OPTIONS_H_
