// Messages, and memory beside them, between two processes of one machine: a
// Unix stream socket without a name in any file system.
//
// On the wire every message is a head of 8 bytes (length, then kind; 32 bits
// each, in the machine's byte order) and `length` bytes. The kinds, for one
// worker's Step stream:
//
//   kMessage        a concord.v1.StepRequest or StepResponse, as on gRPC
//   kEnd            by the server, its last: a google.rpc.Status, empty for OK
//   kRegion         by the client, empty: the file descriptor that comes with
//                   its head is a memory region (memory_region.h), to be
//                   called 1, 2, 3, ... in the order in which they came
//   kRegionTaken    answers kRegion
//   kRegionRefused  answers kRegion: the region has no number
//
// A socket never blocks: where there is nothing to read, or no room to write,
// the caller's `wait` is asked.
//
// Threads: one reads and one writes at a time; the rest says so.
#ifndef CONCORD_PROTO_LOCAL_MESSAGE_SOCKET_H_
#define CONCORD_PROTO_LOCAL_MESSAGE_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grpcpp/support/slice.h"
#include "proto/local/file_descriptor.h"

namespace concord::local {

// The largest message: what gRPC takes by default, too.
inline constexpr size_t kMaxMessageBytes = 4 << 20;

// Listens on a name of this machine's (of its network namespace) that nobody
// can guess. UNAVAILABLE where the system has no such sockets.
struct Listener {
  FileDescriptor socket;
  std::string name;
};
absl::StatusOr<Listener> Listen();

class MessageSocket {
 public:
  enum class Kind : uint32_t {
    kMessage = 0,
    kEnd = 1,
    kRegion = 2,
    kRegionTaken = 3,
    kRegionRefused = 4,
  };
  struct Message {
    Kind kind = Kind::kMessage;
    grpc::Slice bytes;
    FileDescriptor file;  // Of kRegion.
  };

  // Called where `descriptor` is not ready for `events` (of poll()); returns
  // when it may be. False: gives up.
  using Wait = absl::FunctionRef<bool(int descriptor, short events)>;

  // UNAVAILABLE where nobody listens under that name, so on every other
  // machine; PERMISSION_DENIED where who does is another user.
  static absl::StatusOr<FileDescriptor> Connect(absl::string_view name);
  // The next who has connected. PERMISSION_DENIED where he is another user,
  // UNAVAILABLE where nobody has, or the system has no descriptors left.
  static absl::StatusOr<FileDescriptor> Accept(const FileDescriptor& listener);

  explicit MessageSocket(FileDescriptor socket) : socket_(std::move(socket)) {}
  MessageSocket(const MessageSocket&) = delete;
  MessageSocket& operator=(const MessageSocket&) = delete;

  // The next message. False: the peer has ended its side or is gone, `wait`
  // gave up, or what came is no message.
  bool Read(Message* message, Wait wait);

  // Sends `parts` as one message, with `file` where it is not -1. False: the
  // peer is gone, or `wait` gave up; then nothing more can be sent.
  bool Write(Kind kind, absl::Span<const grpc::Slice> parts, int file,
             Wait wait);

  // The peer sees the end of the messages.
  void EndWrites();
  // The peer sees that nobody is there.
  void EndAll();
  // Any thread: no more messages come in, and a poll() of the socket returns.
  void EndReads();
  // Any thread: the peer's process has closed its socket, or ended.
  bool IsHungUp() const;

  int descriptor() const { return socket_.get(); }

 private:
  // Reads into `to`: at least one byte. False as for Read.
  bool Receive(absl::Span<std::byte> to, size_t* count, Wait wait);
  bool Fill(size_t bytes, Wait wait);

  const FileDescriptor socket_;
  std::vector<std::byte> buffer_;  // Bytes [begin_, end_) are not consumed.
  size_t begin_ = 0;
  size_t end_ = 0;
  std::deque<FileDescriptor> files_;  // Came with what was read.
  bool cut_ = false;                  // A message was not written to its end.
};

}  // namespace concord::local

#endif  // CONCORD_PROTO_LOCAL_MESSAGE_SOCKET_H_
