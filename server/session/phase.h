// What sessions tell of their steps while they are under way: the phases, in
// which tests kill the server, and commits, which it counts.
#ifndef CONCORD_SERVER_SESSION_PHASE_H_
#define CONCORD_SERVER_SESSION_PHASE_H_

#include <functional>

#include "concord/v1/step.pb.h"

namespace concord {

enum class Phase {
  kReceive,     // A header was taken, its vectors are to come.
  kIngest,      // A chunk is in its row.
  kSolve,       // Solved, nothing written.
  kCommit,      // Between two blocks of the commit.
  kSwitch,      // All is written, the old state is still the valid one.
  kTrailer,     // The new state is the valid one, nobody has been told.
  kCheckpoint,  // Between two pieces of a checkpoint.
};

// Called when a phase is reached, on any thread, with locks held. Null:
// nothing.
using PhaseHook = std::function<void(Phase)>;

using CommitHook = std::function<void(const v1::StepResult& result,
                                      const v1::StepTrailer& trailer)>;

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_PHASE_H_
