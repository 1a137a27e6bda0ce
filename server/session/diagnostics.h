// What watchers are told of committed steps: the latest value wins.
//
// The session publishes, watchers wait. Publishing costs a lock that is held
// for a moment, and nothing is built while nobody watches; a watcher that comes
// late finds the newest step and how many there were since its last one.
//
// Lock order: after Session::mutex_. Threads: safe.
#ifndef CONCORD_SERVER_SESSION_DIAGNOSTICS_H_
#define CONCORD_SERVER_SESSION_DIAGNOSTICS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "concord/v1/step.pb.h"
#include "concord/v1/watch.pb.h"
#include "server/session/clock.h"

namespace concord {

// How long a contribution took.
struct RankTime {
  uint32_t rank = 0;
  absl::Duration receive;  // From its header to its last byte.
  absl::Duration wait;     // From then to the solve.
};

// A committed step, as cheap to collect as can be: each watcher makes its
// message of it.
struct StepFacts {
  std::shared_ptr<const v1::StepResult> result;
  v1::StepTrailer trailer;
  std::vector<RankTime> ranks;
  absl::Time commit_time = absl::InfinitePast();  // Not known.
};

class Diagnostics : public std::enable_shared_from_this<Diagnostics> {
 public:
  // One who watches; need not outlive, nor be outlived by, the session.
  // Threads: one at a time.
  class Watcher {
   public:
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    ~Watcher();

    // Waits for a step newer than the one returned last, and returns the
    // newest. Else the reason of Close, or CANCELLED when `is_cancelled`, asked
    // now and then, says so.
    absl::StatusOr<v1::StepDiagnostics> Next(
        absl::FunctionRef<bool()> is_cancelled);

   private:
    friend class Diagnostics;
    explicit Watcher(std::shared_ptr<Diagnostics> diagnostics);

    const std::shared_ptr<Diagnostics> diagnostics_;
    uint64_t seen_ = 0;  // commits_ when Next returned last.
  };

  explicit Diagnostics(const Clock* clock) : clock_(clock) {}

  // Begins with `current`, the last committed step, if there is one.
  std::unique_ptr<Watcher> Watch(std::shared_ptr<const StepFacts> current);

  // A step was committed. `collect` is called only if somebody watches.
  void Publish(absl::FunctionRef<std::shared_ptr<const StepFacts>()> collect);

  bool is_watched() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all watchers, once they have the newest step; the first reason counts.
  void Close(const absl::Status& reason);

 private:
  const Clock* const clock_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  int watchers_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t commits_ ABSL_GUARDED_BY(mutex_) = 0;
  // Null while nobody watches.
  std::shared_ptr<const StepFacts> latest_ ABSL_GUARDED_BY(mutex_);
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_DIAGNOSTICS_H_
