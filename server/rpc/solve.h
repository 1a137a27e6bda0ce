// The `Solve` method: coefficients from a Gram matrix.
#ifndef CONCORD_SERVER_RPC_SOLVE_H_
#define CONCORD_SERVER_RPC_SOLVE_H_

#include "absl/status/statusor.h"
#include "concord/v1/combine.pb.h"
#include "server/session/limits.h"

namespace concord {

// INVALID_ARGUMENT (INVALID_MATRIX, INVALID_OPTION, NON_FINITE) naming the
// field; RESOURCE_EXHAUSTED for more than max_vectors rows.
absl::StatusOr<v1::SolveResponse> Solve(const v1::SolveRequest& request,
                                        const Limits& limits);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_SOLVE_H_
