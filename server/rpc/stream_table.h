// The server's live streams: how many, what each is blocked in, and the way to
// end one from outside.
//
// A thread that reads or writes cannot be interrupted but by cancelling its
// stream (in gRPC's synchronous API, its call). So every read and write goes
// through LiveStream, which knows whether the handler is inside one: Cancel()
// then ends the pipe with the reason; otherwise the handler learns of it at its
// next read or write and returns the reason itself, with all details.
//
// One thread watches all writes: a client that takes nothing for the stream's
// send_timeout is cancelled with SEND_TIMEOUT.
#ifndef CONCORD_SERVER_RPC_STREAM_TABLE_H_
#define CONCORD_SERVER_RPC_STREAM_TABLE_H_

#include <cstdint>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/message_pipe.h"
#include "server/rpc/metrics.h"

namespace concord {

class StreamTable;

// One stream, on its handler's stack. Threads: Read, Write and the rest belong
// to the handler; Cancel and is_cancelled are safe from any thread.
class LiveStream {
 public:
  ~LiveStream();
  LiveStream(const LiveStream&) = delete;
  LiveStream& operator=(const LiveStream&) = delete;

  // False: the client has ended its side, or status() is not OK.
  bool Read(grpc::ByteBuffer* message);
  // False: the stream is over; status() says why.
  bool Write(const grpc::ByteBuffer& message);

  void set_send_timeout(absl::Duration timeout);

  // Of messages so far. For the handler.
  uint64_t received_bytes() const { return received_bytes_; }
  uint64_t sent_bytes() const { return sent_bytes_; }

  // There is work now that draining must not interrupt.
  void Occupy();

  // Ends the stream with `reason`; the first reason counts. Quick: it may be
  // called with locks held.
  void Cancel(const absl::Status& reason);

  // The stream was cancelled by either side.
  bool is_cancelled() const;

  // OK, the reason given to Cancel, or CANCELLED when the client is gone.
  absl::Status status() const;

  // The client's memory (message_pipe.h).
  absl::Span<std::byte> Region(uint32_t number) const {
    return pipe_->Region(number);
  }

 private:
  friend class StreamTable;
  enum class Operation { kNone, kRead, kWrite };

  LiveStream(StreamTable* table, MessagePipe* pipe);

  // Marks the handler as inside the pipe unless the stream was cancelled.
  bool Enter(Operation operation);
  void Leave();
  void CancelUnoccupied(const absl::Status& reason);
  // Cancels a write that began before `now - send_timeout`.
  void CheckWrite(absl::Time now);

  StreamTable* const table_;
  MessagePipe* const pipe_;
  uint64_t received_bytes_ = 0, sent_bytes_ = 0;  // The handler's.

  mutable absl::Mutex mutex_;
  Operation operation_ ABSL_GUARDED_BY(mutex_) = Operation::kNone;
  absl::Time operation_began_ ABSL_GUARDED_BY(mutex_);
  absl::Duration send_timeout_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(60);
  bool occupied_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status reason_ ABSL_GUARDED_BY(mutex_);
};

// Threads: safe. Outlives its streams.
class StreamTable {
 public:
  // `metrics` counts what streams carry; it outlives the table.
  StreamTable(uint32_t max_streams, Metrics* metrics);
  ~StreamTable();
  StreamTable(const StreamTable&) = delete;
  StreamTable& operator=(const StreamTable&) = delete;

  // Counts a stream in until the result is destroyed, before the pipe.
  // RESOURCE_EXHAUSTED, LIMIT_EXCEEDED when there are max_streams; UNAVAILABLE,
  // DRAINING after StartDraining.
  absl::StatusOr<std::unique_ptr<LiveStream>> Open(MessagePipe* pipe);

  uint32_t size() const;

  // No new streams from now on; those without work end with DRAINING.
  void StartDraining();
  // Waits until there is no stream; false when `timeout` has passed before.
  bool AwaitEmpty(absl::Duration timeout);
  // Ends all streams with DRAINING.
  void CancelAll();

 private:
  friend class LiveStream;
  void Close(LiveStream* stream);
  // Shorter send_timeouts are looked at more often.
  void NoteSendTimeout(absl::Duration timeout);
  void Watch();

  const uint32_t max_streams_;
  Metrics* const metrics_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration watch_period_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(1);
  absl::flat_hash_set<LiveStream*> streams_ ABSL_GUARDED_BY(mutex_);
  std::thread watchdog_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_STREAM_TABLE_H_
