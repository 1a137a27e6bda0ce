// gRPC's status, with the google.rpc details of Concord's errors, as Abseil's.
#ifndef CONCORD_CLIENT_CPP_STATUS_H_
#define CONCORD_CLIENT_CPP_STATUS_H_

#include "absl/status/status.h"

namespace grpc {
class Status;
}

namespace concord {

// Same code and message. Where the details hold a google.rpc.ErrorInfo of
// domain "concord" the result carries an ErrorDetail (operators/errors.h).
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_STATUS_H_
