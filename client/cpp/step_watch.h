// What a session's steps found, for anyone who wants to look: the latest value
// wins, and no step waits for it (proto/concord/v1/watch.proto).
//
//   auto watch = client->Watch("sessions/heat");
//   while (true) {
//     auto step = (*watch)->Next();
//     if (!step.ok()) break;  // Says what has ended the watch.
//     … step->result(), step->trailer(), step->ranks() …
//   }
//
// Threads: one at a time. In a forked child it may only be destroyed, as a
// Client.
#ifndef CONCORD_CLIENT_CPP_STEP_WATCH_H_
#define CONCORD_CLIENT_CPP_STEP_WATCH_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/options.h"
#include "concord/v1/watch.pb.h"

namespace concord {

class StepWatch {
 public:
  ~StepWatch();
  StepWatch(const StepWatch&) = delete;
  StepWatch& operator=(const StepWatch&) = delete;

  // The newest step that is not yet told, waiting for one where there is none;
  // the first time, the session's last committed step. Any error ends the watch
  // and is returned ever after: the server's (SESSION_NOT_FOUND when the
  // session is deleted, DRAINING, SEND_TIMEOUT when Next was not called for the
  // session's send_timeout), UNAVAILABLE when it is not there, and
  // DEADLINE_EXCEEDED or CANCELLED, which the options ask for. Nothing is tried
  // again: another watch loses nothing but steps.
  absl::StatusOr<v1::StepDiagnostics> Next(
      const CallOptions& options = {.timeout = absl::InfiniteDuration(),
                                    .is_cancelled = {}});

 private:
  friend class Client;
  class Impl;
  explicit StepWatch(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_STEP_WATCH_H_
