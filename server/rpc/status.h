// Errors on the wire.
#ifndef CONCORD_SERVER_RPC_STATUS_H_
#define CONCORD_SERVER_RPC_STATUS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace concord {

// Same code and message; an attached ErrorDetail becomes a google.rpc.Status in
// the details with ErrorInfo (domain "concord", the reason, and as metadata
// "field", "value", "accepted" and what the detail has), where a field is to
// blame, BadRequest, and where it has a retry_delay, RetryInfo. Long texts are
// cut so that the details stay within kMaxDetailBytes: gRPC drops a status
// whose metadata is too large.
grpc::Status ToGrpc(const absl::Status& status);

inline constexpr size_t kMaxDetailBytes = 2048;

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_STATUS_H_
