// The inside of WorkerSession (session.h), which its users need not compile.
#ifndef CONCORD_CLIENT_CPP_SESSION_IMPL_H_
#define CONCORD_CLIENT_CPP_SESSION_IMPL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/limit.h"
#include "client/cpp/message_stream.h"
#include "client/cpp/process_guard.h"
#include "client/cpp/retry.h"
#include "client/cpp/session.h"
#include "client/cpp/shared_pool.h"
#include "client/cpp/shared_vectors.h"
#include "client/cpp/update_receiver.h"

namespace concord {

class WorkerSession::Impl {
 public:
  Impl(std::string server, const ClientOptions& client, WorkerOptions worker);
  ~Impl();

  // First join, with retries. To be called once, before all else.
  absl::Status Open(const CallOptions& options);

  absl::StatusOr<StepOutcome> Step(absl::Span<const StepVector> contributions,
                                   absl::Span<const StepLoss> losses,
                                   void* update, const StepOptions& options);
  absl::Status Accumulate(absl::Span<const StepVector> contributions,
                          const StepOptions& options);
  absl::Status Leave(const CallOptions& options);
  std::shared_ptr<void> TakeUpdate();
  std::shared_ptr<void> TakeGradient();

  bool forked() const { return guard_.forked(); }
  const v1::Joined& joined() const { return joined_; }
  uint64_t incarnation() const { return worker_.incarnation; }
  uint64_t applied_step() const { return applied_step_; }

 private:
  // What the server could not see, and indexes; and that there are steps to
  // come.
  absl::Status Check(absl::Span<const StepVector> contributions) const;
  // A new connection and stream, joined; on the local socket of the server
  // where there is one.
  absl::Status Join(const Limit& limit);
  absl::Status JoinLocally(const std::string& authorization,
                           const Limit& limit);
  // Says Join on a new stream, which is the worker's from then on.
  // `authorization`: where the stream itself does not say who calls.
  absl::Status JoinOn(std::unique_ptr<MessageStream> stream,
                      const std::string& authorization, const Limit& limit);
  // Step with all its tries, its arguments checked.
  absl::StatusOr<StepOutcome> TrySteps(
      absl::Span<const StepVector> contributions,
      absl::Span<const StepLoss> losses, void* update,
      const StepOptions& options);
  // One try of a step on the open stream.
  absl::Status Try(v1::StepHeader* header,
                   absl::Span<const StepVector> contributions,
                   const void* update, UpdateReceiver* receiver,
                   const Limit& limit);
  v1::StepHeader MakeHeader(absl::Span<const StepVector> contributions,
                            absl::Span<const StepLoss> losses,
                            absl::Span<const int> active) const;
  bool Send(const v1::StepHeader& header,
            absl::Span<const StepVector> contributions, const Limit& limit);
  // The same through shared memory, whose places are reserved.
  bool SendShared(const v1::StepHeader& header,
                  absl::Span<const StepVector> contributions,
                  const Limit& limit);
  // Whether the vector lies where the server reads it.
  bool IsInPlace(const StepVector& contribution, size_t position) const;
  absl::Status Receive(UpdateReceiver* receiver, const Limit& limit);
  // How many bytes a chunk of a vector has at most.
  size_t ChunkBytes() const;
  // The stream is over.
  void Disconnect();
  bool WorthRetrying(const absl::Status& status) const;
  // After a failed try: no connection, nothing accumulated.
  void Drop(const absl::Status& status);
  // Whether the vector's elements travel in 16 bits, and are not given so.
  bool Narrows(const StepVector& contribution) const;

  const ProcessGuard guard_;
  const std::string server_;
  const ClientOptions client_;
  WorkerOptions worker_;
  Backoff backoff_;

  v1::Joined joined_;
  bool joined_before_ = false;
  uint64_t applied_step_ = 0;
  uint32_t attempt_ = 0;        // Of step applied_step_ + 1.
  uint32_t micro_batches_ = 0;  // Sent of that step, on this connection.
  absl::Status ended_;          // Not OK: what every Step returns from now on.
  std::unique_ptr<MessageStream> connection_;  // Null: to be joined anew.
  bool avoid_local_socket_ = false;            // The last try on it has failed.
  std::unique_ptr<SharedVectors> shared_;      // Null: vectors are sent.
  // Null: none was shared yet.
  std::shared_ptr<SharedPool> gradients_;
  std::shared_ptr<SharedPool> updates_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SESSION_IMPL_H_
