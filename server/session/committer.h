// Threads that write long updates while ranks already send them.
#ifndef CONCORD_SERVER_SESSION_COMMITTER_H_
#define CONCORD_SERVER_SESSION_COMMITTER_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace concord {

// Updates up to this size are committed by the thread that completed the round:
// handing it to another costs more than the pass.
inline constexpr size_t kInlineCommitBytes = 256 << 10;

// Runs tasks in order of arrival on a fixed number of threads. Threads: safe.
class CommitterPool {
 public:
  explicit CommitterPool(int threads);
  // Runs what was handed over, then joins its threads.
  ~CommitterPool();

  void Run(std::function<void()> task);

 private:
  void Work();

  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_COMMITTER_H_
