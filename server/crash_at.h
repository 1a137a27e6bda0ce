// The death of a server at a given moment, for tests of what it keeps.
#ifndef CONCORD_SERVER_CRASH_AT_H_
#define CONCORD_SERVER_CRASH_AT_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/session/phase.h"

namespace concord {

// "switch:3": kills the process with SIGKILL the third time that it reaches
// Phase::kSwitch. INVALID_ARGUMENT for anything else than a phase and a count.
absl::StatusOr<PhaseHook> CrashAt(const std::string& text);

}  // namespace concord

#endif  // CONCORD_SERVER_CRASH_AT_H_
