#include "client/cpp/local_stream.h"

#include <poll.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace concord {
namespace {

using Kind = local::MessageSocket::Kind;

absl::Status ServerIsGone() {
  return absl::UnavailableError("the server has closed its local socket");
}

absl::Status ReadEnd(const grpc::Slice& bytes) {
  google::rpc::Status end;
  if (!end.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("the server ended the stream unreadably");
  }
  return FromGrpc(grpc::Status(
      static_cast<grpc::StatusCode>(end.code()), end.message(),
      std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalStream>> LocalStream::Connect(
    absl::string_view name) {
  absl::StatusOr<FileDescriptor> socket = local::MessageSocket::Connect(name);
  if (!socket.ok()) return socket.status();
  return std::make_unique<LocalStream>(*std::move(socket));
}

bool LocalStream::Wait(int descriptor, short events, const Limit& limit) {
  while (true) {
    const absl::Duration most =
        std::clamp(limit.NextCheck() - absl::Now(), absl::ZeroDuration(),
                   absl::Minutes(1));
    pollfd poll = {descriptor, events, 0};
    // Rounded up: not to ask again and again within the last millisecond.
    if (::poll(&poll, 1,
               static_cast<int>(absl::ToInt64Milliseconds(
                   most + absl::Microseconds(999)))) > 0) {
      return true;
    }
    limited_ = limit.Check();
    if (!limited_.ok()) return false;
  }
}

bool LocalStream::Send(Kind kind, absl::Span<const grpc::Slice> parts, int file,
                       const Limit& limit) {
  if (broken_ || ended_ || !limited_.ok()) return false;
  broken_ =
      !socket_.Write(kind, parts, file, [&](int descriptor, short events) {
        return Wait(descriptor, events, limit);
      });
  return !broken_;
}

bool LocalStream::Receive(local::MessageSocket::Message* message,
                          const Limit& limit) {
  if (ended_ || !limited_.ok()) return false;
  if (!socket_.Read(message, [&](int descriptor, short events) {
        return Wait(descriptor, events, limit);
      })) {
    ended_ = true;
    end_ = ServerIsGone();
    return false;
  }
  if (message->kind != Kind::kEnd) return true;
  ended_ = true;
  end_ = ReadEnd(message->bytes);
  return false;
}

bool LocalStream::Write(const grpc::ByteBuffer& message, const Limit& limit) {
  std::vector<grpc::Slice> slices;
  return message.Dump(&slices).ok() &&
         Send(Kind::kMessage, slices, /*file=*/-1, limit);
}

bool LocalStream::Read(grpc::ByteBuffer* message, const Limit& limit) {
  local::MessageSocket::Message received;
  if (!Receive(&received, limit)) return false;
  if (received.kind != Kind::kMessage) {
    ended_ = true;
    end_ = absl::DataLossError("the server answered what was not asked");
    return false;
  }
  *message = grpc::ByteBuffer(&received.bytes, 1);
  return true;
}

absl::Status LocalStream::Close(const Limit& limit) {
  // Where nothing can be written any more the server has ended the stream, and
  // has said why.
  local::MessageSocket::Message message;
  while (broken_ && Receive(&message, limit)) {
  }
  if (!limited_.ok()) return limited_;
  const bool answered = ended_;
  ended_ = true;
  if (answered && !end_.ok()) return end_;
  return absl::UnavailableError(
      "the server ended the stream before its answer was complete");
}

absl::Status LocalStream::Leave(const Limit& limit) {
  if (broken_ || ended_ || !limited_.ok()) return Close(limit);
  socket_.EndWrites();
  local::MessageSocket::Message message;
  while (Receive(&message, limit)) {
  }
  return limited_.ok() ? end_ : limited_;
}

grpc::Slice LocalStream::Lend(wire::Fragment bytes) {
  return wire::BorrowSlice(bytes);
}

bool LocalStream::AwaitLoans(const Limit& limit) {
  (void)limit;  // Nothing to wait for.
  return !broken_ && !ended_ && limited_.ok();
}

uint32_t LocalStream::Pass(const local::MemoryRegion& region,
                           const Limit& limit) {
  local::MessageSocket::Message answer;
  if (!Send(Kind::kRegion, {}, region.file().get(), limit) ||
      !Receive(&answer, limit) || answer.kind != Kind::kRegionTaken) {
    return 0;
  }
  return ++regions_;
}

}  // namespace concord
