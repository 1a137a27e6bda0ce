// Which errors pass by themselves, and how long to wait for that.
#ifndef CONCORD_CLIENT_CPP_RETRY_H_
#define CONCORD_CLIENT_CPP_RETRY_H_

#include <cstdint>
#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/limit.h"
#include "client/cpp/options.h"

namespace concord {

// May the same step (or combination) be asked for again on a new stream?
// `incarnation`: the caller's own; `joined`: it has been in the session before.
bool IsWorthRetrying(const absl::Status& status, uint64_t incarnation,
                     bool joined);

// How long the server has asked to wait before the next try; 0: it has not.
absl::Duration RetryDelay(const absl::Status& status);

// INVALID_ARGUMENT for durations or bounds that make no sense.
absl::Status Validate(const RetryOptions& options);

// Pauses between tries. One thread at a time.
class Backoff {
 public:
  explicit Backoff(const RetryOptions& options);

  // Back to the first, shortest pause.
  void Reset() { next_ = options_.initial_backoff; }
  absl::Duration Next();

 private:
  const RetryOptions options_;
  std::mt19937_64 random_;
  absl::Duration next_;
};

// The tries of one call. Usage:
//   for (Tries tries(&backoff, retry, limit);;) {
//     absl::Status status = …one try…;
//     if (status.ok()) return …;
//     if (!tries.Again(&status, IsWorthRetrying(…))) return status;
//   }
class Tries {
 public:
  Tries(Backoff* backoff, uint32_t max_attempts, const Limit& limit)
      : backoff_(*backoff), max_attempts_(max_attempts), limit_(limit) {
    backoff_.Reset();
  }

  // After a failed try: true, after a pause, when there may be another. False:
  // `status` is what the call ends with; where the limit ended it, that, with
  // the last error of a try in its text.
  bool Again(absl::Status* status, bool worth_retrying);

  uint32_t failed() const { return failed_; }

 private:
  Backoff& backoff_;
  const uint32_t max_attempts_;
  const Limit& limit_;
  absl::Status last_error_;
  uint32_t failed_ = 0;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_RETRY_H_
