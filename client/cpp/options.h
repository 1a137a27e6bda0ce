// Options of the client, all with defaults that suit a training job.
#ifndef CONCORD_CLIENT_CPP_OPTIONS_H_
#define CONCORD_CLIENT_CPP_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"

namespace concord {

// How a call that failed for a passing reason is repeated: after a pause that
// doubles from `initial_backoff` to `max_backoff`, each time multiplied by a
// random factor in [1/2, 1], until the call's own time is over.
struct RetryOptions {
  absl::Duration initial_backoff = absl::Milliseconds(50);
  absl::Duration max_backoff = absl::Seconds(5);
  // At most this many tries of one call or step; 0: as many as time allows.
  uint32_t max_attempts = 0;
  // Seed of the random factors; 0: a random one.
  uint64_t jitter_seed = 0;
};

struct ClientOptions {
  RetryOptions retry;

  // After this long without a sign of life the server is asked for one; without
  // an answer within `keepalive_timeout` the connection counts as lost (and a
  // step is asked for again on a new one). Bytes that the server's host does
  // not take for `keepalive_timeout` have the same effect. Until then they, and
  // the caller's memory with them, cannot be taken back: a call whose timeout
  // passes just then may return that much later.
  absl::Duration keepalive_time = absl::Seconds(60);  // >= 10 s.
  absl::Duration keepalive_timeout = absl::Seconds(10);

  // Vectors travel in pieces of this many bytes, any number >= 1, at most what
  // the server allows. Results do not depend on it.
  size_t chunk_bytes = size_t{1} << 20;

  // Workers whose server is on this machine, and the same user's, pass vectors
  // in memory that both share (docs/shared_memory.md). Results do not depend on
  // it.
  bool shared_memory = true;

  // A step whose vectors together take no more than this (and no more than
  // chunk_bytes) goes as one message.
  size_t single_message_bytes = size_t{1} << 18;
};

// For one call or step.
struct CallOptions {
  // For everything together: connecting, waiting, all retries. On expiry the
  // call ends with DEADLINE_EXCEEDED, which names the last error met.
  absl::Duration timeout = absl::Seconds(20);

  // Asked about ten times a second, on the calling thread, while the call
  // waits; true ends it with CANCELLED. (Unary calls ask between their tries
  // only.) Empty: never.
  std::function<bool()> is_cancelled;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_OPTIONS_H_
