// A rank's part in a session on a server, and the memory of its updates.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_REMOTE_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_REMOTE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "client/cpp/client.h"
#include "client/python/native/result_pool.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord::python {

struct RemoteSettings {
  std::string server;
  std::string session_id;
  // Set: the session is created if there is none. Not set: it must exist.
  std::optional<OperatorOptions> options;
  // The new session's other options, those of its rounds and of its durability.
  v1::Session session;
  // Checkpoint that a new session begins with; "": none.
  std::string restore_from;
  WorkerOptions worker;    // `session` is filled from session_id.
  size_t chunk_bytes = 0;  // 0: the client's default.
  bool shared_memory = true;
  std::string traceparent;  // Empty: the environment's, if there is one.
};

// Threads: any; one step at a time. Holds no Python object and needs no GIL.
// After a fork the child may only destroy it (see client/cpp/client.h).
class RemoteSession {
 public:
  // Finds or creates the session and joins it.
  static absl::StatusOr<std::unique_ptr<RemoteSession>> Open(
      const RemoteSettings& settings, std::shared_ptr<Kernels> host,
      const CallOptions& call);

  struct Result {
    std::unique_ptr<ResultBuffer> update;  // Null: it is where the caller said.
    StepOutcome outcome;
  };
  // The update goes to `into`, or where that is null to memory of its own.
  absl::StatusOr<Result> Step(absl::Span<const StepVector> contributions,
                              absl::Span<const StepLoss> losses,
                              const StepOptions& options, void* into);

  // Memory for a gradient, of the session's gradient_type, that the server
  // reads where it lies. Null: there is no such memory.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> TakeGradient();

  // One of several micro-batches of the coming step.
  absl::Status Accumulate(absl::Span<const StepVector> contributions,
                          const StepOptions& options);

  // Makes `options`' methods the session's from the next round on.
  absl::Status Update(const OperatorOptions& options, const CallOptions& call);

  Client& client() { return *client_; }

  // Ends the stream; the session stays, and expects the rank back. Idempotent.
  // Later steps are refused.
  void Close();

  // Goes for good, as WorkerSession::Leave, and closes.
  absl::Status Leave(const CallOptions& call);

  // Closes, and deletes the session that was joined.
  absl::Status Delete(const CallOptions& call);

  const std::string& name() const { return name_; }
  const v1::Joined& joined() const { return joined_; }
  uint64_t applied_step() const { return applied_step_; }

 private:
  RemoteSession(std::string name, std::unique_ptr<Client> client,
                std::unique_ptr<WorkerSession> worker,
                std::shared_ptr<Kernels> host);
  // In shared memory where there is some.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> TakeUpdate()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string name_;
  const std::unique_ptr<Client> client_;
  const v1::Joined joined_;  // At the first join.
  const std::shared_ptr<ResultPool> pool_;
  std::atomic<uint64_t> applied_step_;
  absl::Mutex mutex_;
  std::unique_ptr<WorkerSession> worker_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_REMOTE_H_
