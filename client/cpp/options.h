// Options of the client, all with defaults that suit a training job.
#ifndef CONCORD_CLIENT_CPP_OPTIONS_H_
#define CONCORD_CLIENT_CPP_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "absl/types/optional.h"

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

// Files in PEM form, read at every connection.
struct TlsOptions {
  // Of those who may issue the server's certificate; empty: the system's.
  std::string ca_file;
  // The client's own, where the server wants one. Both or none.
  std::string cert_file;
  std::string key_file;
  // The name in the server's certificate, where it is not the address's host.
  std::string server_name;
};

struct ClientOptions {
  RetryOptions retry;

  // Not set: nothing is encrypted.
  absl::optional<TlsOptions> tls;

  // Says who calls, to servers that ask (docs/SECURITY.md): the token itself,
  // or a file with it, which is read at every call. A token goes over TLS, to
  // this machine's loopback or to a Unix socket; never elsewhere.
  std::string token;
  std::string token_file;

  // W3C's traceparent: the trace that the calls belong to, which the server's
  // log then names. Empty: none. A step may have one of its own (StepOptions).
  std::string traceparent;

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

// The defaults, with TLS and token from the environment: CONCORD_TLS_CA (also
// "system"), CONCORD_TLS_CERT, CONCORD_TLS_KEY, CONCORD_TLS_SERVER_NAME,
// CONCORD_TOKEN, CONCORD_TOKEN_FILE. TLS is on where one of its four is set.
// And the trace from TRACEPARENT, if it is one.
ClientOptions ClientOptionsFromEnvironment();

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
