// Tells a forked child from the process that made an object. gRPC's threads do
// not exist in the child and its connections are the parent's: there, whatever
// holds gRPC objects must leave them alone, destructors included.
#ifndef CONCORD_CLIENT_CPP_PROCESS_GUARD_H_
#define CONCORD_CLIENT_CPP_PROCESS_GUARD_H_

#include <sys/types.h>
#include <unistd.h>

#include "absl/status/status.h"

namespace concord {

class ProcessGuard {
 public:
  bool forked() const { return getpid() != creator_; }

  absl::Status Check() const {
    if (!forked()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this connection was opened by the parent process; a forked child must "
        "connect by itself");
  }

 private:
  const pid_t creator_ = getpid();
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_PROCESS_GUARD_H_
