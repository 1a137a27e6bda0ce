// What a server allows. Names are those of concord.v1.ServerInfo.
#ifndef CONCORD_SERVER_SESSION_LIMITS_H_
#define CONCORD_SERVER_SESSION_LIMITS_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "concord/v1/session.pb.h"

namespace concord {

// Of one caller; 0: as much as the server has. Not set: what the server says
// for all callers.
struct CallerLimits {
  std::optional<uint32_t> max_streams;
  std::optional<uint32_t> max_sessions;
  std::optional<uint64_t> memory_budget_bytes;
  std::optional<double> max_step_rate;  // Steps a second, each rank's; finite.

  bool operator==(const CallerLimits&) const = default;
};

struct Limits {
  uint32_t max_sessions = 100;
  uint32_t max_vectors = 256;            // m of a session or combination.
  uint64_t max_parameters = 1ull << 36;  // n of a session or combination.
  uint32_t max_streams = 1000;           // Counted by the rpc room.
  uint64_t memory_budget_bytes = 1ull << 33;
  // `data` of one chunk: gRPC's default message limit less room for the rest.
  uint64_t max_chunk_bytes = (4ull << 20) - (64ull << 10);
  absl::Duration default_idle_ttl = absl::Hours(1);
  // What a session gets that does not say. Without a state directory it cannot
  // have anything else than NONE.
  v1::Durability default_durability = v1::DURABILITY_NONE;
  bool has_state_directory = false;
  CallerLimits per_caller;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_LIMITS_H_
