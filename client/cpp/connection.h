// One bidirectional gRPC stream of raw messages on a connection of its own.
//
// Everything gRPC does for it happens on the calling thread or ends before the
// Connection is gone. Sent slices are the exception: gRPC may hold them until
// the bytes are on the wire, also after the stream has ended. Memory lent with
// Lend() is free again only when ReturnLoans() or the destructor has returned.
#ifndef CONCORD_CLIENT_CPP_CONNECTION_H_
#define CONCORD_CLIENT_CPP_CONNECTION_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/cpp/channel.h"
#include "client/cpp/limit.h"
#include "client/cpp/message_stream.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "grpcpp/support/status.h"
#include "proto/wire/payload.h"

namespace concord {

class Connection final : public MessageStream {
 public:
  // Starts a call of `method` ("/package.Service/Method", a literal) with the
  // first message written. The line should be this connection's alone.
  Connection(Line line, const char* method);

  ~Connection() override;

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool Write(const grpc::ByteBuffer& message, const Limit& limit) override;
  void StartRead() override;
  bool Read(grpc::ByteBuffer* message, const Limit& limit) override;
  absl::Status Close(const Limit& limit) override;
  absl::Status Leave(const Limit& limit) override;
  grpc::Slice Lend(wire::Fragment bytes) override;
  // At once after a complete answer; bytes stuck in a socket that the peer does
  // not empty come back when the kernel gives the socket up
  // (ClientOptions::keepalive_timeout).
  bool ReturnLoans() override;
  bool AwaitLoans(const Limit& limit) override;

 private:
  enum Operation { kWrite, kRead, kFinish, kOperations };
  struct Loan;

  // Waits for one operation; true when it succeeded. An operation that was
  // never started has succeeded.
  bool Await(Operation operation, const Limit& limit);
  // Takes one event off the queue, if one comes until `until`.
  bool Pump(absl::Time until);
  void Start(Operation operation) { state_[operation] = State::kPending; }
  bool Pending() const;
  // Waits for everything started; past the limit the call is cancelled, which
  // ends it.
  void Settle(const Limit* limit);
  void Cancel();
  void Finish(const Limit* limit);

  enum class State : char { kDone, kPending, kFailed };

  std::shared_ptr<grpc::Channel> channel_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<
      grpc::ClientAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>
      stream_;
  State state_[kOperations] = {};
  grpc::ByteBuffer received_;
  grpc::Status end_;
  absl::Status limited_;       // Not OK: the limit has ended the call.
  bool have_message_ = false;  // Or will have, once kRead is done.
  bool cancelled_ = false;
  bool finished_ = false;

  std::shared_ptr<Loan> loan_;
  std::shared_ptr<absl::Notification> returned_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_CONNECTION_H_
