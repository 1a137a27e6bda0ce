// What carries the messages of one stream. Threads: Read and Write belong to
// one thread; Cancel and IsCancelled are safe from any.
#ifndef CONCORD_SERVER_RPC_MESSAGE_PIPE_H_
#define CONCORD_SERVER_RPC_MESSAGE_PIPE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "grpcpp/support/byte_buffer.h"

namespace concord {

class MessagePipe {
 public:
  virtual ~MessagePipe() = default;

  // False: the client has ended its side, or the stream is over.
  virtual bool Read(grpc::ByteBuffer* message) = 0;
  // False: the stream is over.
  virtual bool Write(const grpc::ByteBuffer& message) = 0;

  // Makes a Read or Write that is under way return false. Quick.
  virtual void Cancel(const absl::Status& reason) = 0;
  // The stream was cancelled, or the client is gone.
  virtual bool IsCancelled() const = 0;

  // The client's memory of that number (step.proto's SharedPlace), as long as
  // the pipe; empty where it has passed none. The client may write to it at any
  // time.
  virtual absl::Span<std::byte> Region(uint32_t number) const = 0;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_MESSAGE_PIPE_H_
