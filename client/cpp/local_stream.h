// One worker's stream over the local socket of a server on this machine, with
// memory that both share (proto/local/message_socket.h).
//
// There is no keepalive as over a network: a server that is stopped, but not
// dead, is waited for as long as the limit allows.
#ifndef CONCORD_CLIENT_CPP_LOCAL_STREAM_H_
#define CONCORD_CLIENT_CPP_LOCAL_STREAM_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/limit.h"
#include "client/cpp/message_stream.h"
#include "proto/local/memory_region.h"
#include "proto/local/message_socket.h"

namespace concord {

class LocalStream final : public MessageStream {
 public:
  // `name`: Joined.local_socket. The errors of MessageSocket::Connect.
  static absl::StatusOr<std::unique_ptr<LocalStream>> Connect(
      absl::string_view name);

  explicit LocalStream(FileDescriptor socket) : socket_(std::move(socket)) {}

  // The server learns of it at once, though a forked child may have the socket,
  // too.
  ~LocalStream() override { socket_.EndAll(); }

  // Nothing is held of a message that was written: what was lent is free again
  // when Write returns.
  bool Write(const grpc::ByteBuffer& message, const Limit& limit) override;
  void StartRead() override {}
  bool Read(grpc::ByteBuffer* message, const Limit& limit) override;
  absl::Status Close(const Limit& limit) override;
  absl::Status Leave(const Limit& limit) override;
  grpc::Slice Lend(wire::Fragment bytes) override;
  bool ReturnLoans() override { return !ended_; }
  bool AwaitLoans(const Limit& limit) override;

  // Passes memory to the server; to be called while no message is expected. 0:
  // the server does not take it, or the stream has ended.
  uint32_t Pass(const local::MemoryRegion& region, const Limit& limit);

 private:
  // Any message; false as for Read.
  bool Receive(local::MessageSocket::Message* message, const Limit& limit);
  bool Send(local::MessageSocket::Kind kind,
            absl::Span<const grpc::Slice> parts, int file, const Limit& limit);
  // Waits for the socket, no longer than the limit allows.
  bool Wait(int descriptor, short events, const Limit& limit);

  local::MessageSocket socket_;
  uint32_t regions_ = 0;
  bool ended_ = false;    // Nothing more can be read.
  bool broken_ = false;   // Nothing more can be written.
  absl::Status limited_;  // Not OK: the limit has ended the stream.
  // How the server has ended it; UNAVAILABLE where it did not say.
  absl::Status end_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_LOCAL_STREAM_H_
