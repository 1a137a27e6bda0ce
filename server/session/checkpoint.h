// A session's committed state, on its way out of one (as a safetensors file,
// see proto/concord/v1/checkpoint.proto) and into one.
//
// Threads: no object here is shared.
#ifndef CONCORD_SERVER_SESSION_CHECKPOINT_H_
#define CONCORD_SERVER_SESSION_CHECKPOINT_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

// The last committed step's answer, for those who ask again.
struct CommittedAnswer {
  std::shared_ptr<const v1::StepResult> result;
  v1::StepTrailer trailer;
};

// The state as long as this is held; the session's steps go on beside it.
struct SessionSnapshot {
  v1::Session session;  // As described then.
  OperatorSnapshot state;
  std::optional<CommittedAnswer> answer;  // None before the first step.
  std::shared_ptr<Kernels> kernels;       // Whose memory the vectors are in.
};

// Writes the file, front to back, in pieces of at most 1 MiB. Every vector is
// let go as soon as it is written. The errors of the sink and of the device.
absl::Status WriteSnapshot(
    SessionSnapshot snapshot,
    absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> sink);

// What a file has; views into its bytes.
struct StoredCheckpoint {
  v1::Session session;
  OperatorNumbers numbers;
  std::vector<std::string> names;  // Of the vectors.
  std::vector<absl::Span<const std::byte>> vectors;
  std::optional<CommittedAnswer> answer;
};

// `name` is what errors call the file. CHECKPOINT_DAMAGED, STATE_FOREIGN,
// STATE_NEWER as SafetensorsReader.
absl::StatusOr<StoredCheckpoint> ReadCheckpoint(
    absl::Span<const std::byte> file, const std::string& name);

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_CHECKPOINT_H_
