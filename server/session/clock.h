// The server's clock, injected so that tests can turn it.
//
// Everything that waits in this room sleeps on an absl::CondVar for at most
// tick() of real time and then looks at Now() again: a test advances its fake
// clock and sees the effect one (short) tick later.
//
// Threads: safe from any thread.
#ifndef CONCORD_SERVER_SESSION_CLOCK_H_
#define CONCORD_SERVER_SESSION_CLOCK_H_

#include "absl/time/time.h"

namespace concord {

class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time Now() const = 0;

  // Longest real time that a wait sleeps before it looks at Now() and at
  // whether its caller was cancelled.
  virtual absl::Duration tick() const { return absl::Milliseconds(100); }

  // The machine's clock: wall time at the process's start, advanced by the
  // monotonic clock, so that it never jumps.
  static const Clock* Real();
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_CLOCK_H_
