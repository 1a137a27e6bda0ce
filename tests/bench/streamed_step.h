// A step over loopback TCP or TLS, a Unix socket or shared memory through the
// C++ client, from this process to a server of its own: one worker with one
// updated loss, or a round of several ranks with one loss each.
#ifndef CONCORD_TESTS_BENCH_STREAMED_STEP_H_
#define CONCORD_TESTS_BENCH_STREAMED_STEP_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "concord/v1/operators.pb.h"

namespace concord::bench {

struct StreamedOptions {
  size_t n = 0;
  int m = 3;
  int threads = 1;         // Of the server's engine.
  size_t chunk_bytes = 0;  // 0: the client's default.
  // Of gradients and updates on the wire; the caller's are float32.
  v1::DataType wire_type = v1::FLOAT32;
  bool over_unix_socket = false;
  // With ca.pem, server.pem and server.key: over TLS. Empty: nothing is
  // encrypted.
  std::string certificates;
  bool shared_memory = false;  // Between this process and the server.
  int ranks = 1;               // More than one: m, rank r brings loss r.
};

class StreamedStep {
 public:
  // Starts a server, makes a session and joins it; all losses
  // are seen once before it returns.
  static absl::StatusOr<std::unique_ptr<StreamedStep>> Create(
      const StreamedOptions& options);
  virtual ~StreamedStep() = default;

  // Brings the next loss in turn, or every rank its own; returns when the
  // update has arrived whole at all of them.
  virtual absl::Status Run() = 0;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_STREAMED_STEP_H_
