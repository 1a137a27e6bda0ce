// The messages of one stream to a server, whatever carries them, driven by one
// thread that waits no longer than a Limit allows.
#ifndef CONCORD_CLIENT_CPP_MESSAGE_STREAM_H_
#define CONCORD_CLIENT_CPP_MESSAGE_STREAM_H_

#include "absl/status/status.h"
#include "client/cpp/limit.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "proto/wire/payload.h"

namespace concord {

class MessageStream {
 public:
  // Cancels the stream where it has not ended, and waits until nobody holds
  // anything of it.
  virtual ~MessageStream() = default;

  // Sends one message, perhaps only once the one before has gone. False: the
  // stream is broken or the limit has passed; Close() says which.
  virtual bool Write(const grpc::ByteBuffer& message, const Limit& limit) = 0;

  // Asks for the next message without waiting for it.
  virtual void StartRead() = 0;

  // The next message; false as for Write. Waits for written messages, too.
  virtual bool Read(grpc::ByteBuffer* message, const Limit& limit) = 0;

  // Ends the stream and says why: the limit's status if that had passed; else
  // the server's; UNAVAILABLE where the server ended it with OK. A stream that
  // is still alive is cancelled.
  virtual absl::Status Close(const Limit& limit) = 0;

  // Tells the server that nothing more comes and waits for its end of the
  // stream, at most until the limit. OK when that end was.
  virtual absl::Status Leave(const Limit& limit) = 0;

  // A slice of the caller's memory, not copied.
  virtual grpc::Slice Lend(wire::Fragment bytes) = 0;

  // Waits until nobody holds lent memory any more. False: the stream has ended.
  virtual bool ReturnLoans() = 0;

  // The same amid a stream, as long as the limit allows: whoever needs lent
  // memory back before there is an answer. False as for Write.
  virtual bool AwaitLoans(const Limit& limit) = 0;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_MESSAGE_STREAM_H_
