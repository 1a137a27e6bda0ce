// Commits an operator's solved step into an Update, block by block.
#ifndef CONCORD_SERVER_SESSION_WRITE_UPDATE_H_
#define CONCORD_SERVER_SESSION_WRITE_UPDATE_H_

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/kernels/half_types.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"
#include "server/session/update.h"

namespace concord {

// Commits the solved step of `op`, publishing the update's bytes while they
// become final, and returns their checksum. The caller then calls Complete or
// Fail. `device_update`: n elements on the kernels' device, for the commit to
// go into where it cannot go into the update: where the host does not see the
// device's memory, or the update is sent in 16 bits (`sent_as`); else null.
// Then every stretch is copied, or rounded, as soon as it is final; the
// checksum is of what is sent. `on_block` is called after every stretch.
absl::StatusOr<uint64_t> WriteUpdate(MomentumOperator* op, Kernels* kernels,
                                     DeviceMemory* device_update,
                                     std::optional<HalfType> sent_as,
                                     bool with_update_cosines, Update* update,
                                     absl::FunctionRef<void()> on_block);

// Writes the committed update of `op` once more; its checksum.
absl::StatusOr<uint64_t> RewriteUpdate(const MomentumOperator& op,
                                       Kernels* kernels,
                                       DeviceMemory* device_update,
                                       std::optional<HalfType> sent_as,
                                       Update* update);

// Makes all of `update` zero, whatever its type; its checksum.
uint64_t WriteZeros(Update* update);

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_WRITE_UPDATE_H_
