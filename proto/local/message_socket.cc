#include "proto/local/message_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"

namespace concord::local {
namespace {

// In the machine's own byte order: both ends are on it.
struct Head {
  uint32_t length;
  uint32_t kind;
};
constexpr size_t kBufferBytes = 64 << 10;
// Descriptors that have come and that no message has claimed yet.
constexpr size_t kMostFiles = 4;
constexpr int kBacklog = 128;

absl::Status Failed(const char* what) {
  return absl::UnavailableError(
      absl::StrCat(what, " of a local socket: ", std::strerror(errno)));
}

FileDescriptor NewSocket() {
  return FileDescriptor(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// The address of a name in the abstract namespace, which no file system knows.
struct Address {
  explicit Address(absl::string_view name) {
    address.sun_family = AF_UNIX;
    const size_t most = sizeof(address.sun_path) - 1;
    name = name.substr(0, most);
    std::copy(name.begin(), name.end(), address.sun_path + 1);
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                  name.size());
  }
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&address);
  }
  sockaddr_un address = {};
  socklen_t size;
};

bool IsOwnUser(const FileDescriptor& socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) ==
             0 &&
         peer.uid == ::geteuid();
}

// Takes descriptors out of a received message's control data; false where some
// were lost.
bool TakeFiles(msghdr* header, std::deque<FileDescriptor>* files) {
  for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr;
       part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      files->push_back(FileDescriptor(descriptor));
    }
  }
  return (header->msg_flags & MSG_CTRUNC) == 0 && files->size() <= kMostFiles;
}

}  // namespace

absl::StatusOr<Listener> Listen() {
  std::random_device random;
  Listener listener;
  listener.name = absl::StrCat("concord-", absl::Hex(random(), absl::kZeroPad8),
                               absl::Hex(random(), absl::kZeroPad8),
                               absl::Hex(random(), absl::kZeroPad8),
                               absl::Hex(random(), absl::kZeroPad8));
  listener.socket = NewSocket();
  if (!listener.socket.is_open()) return Failed("socket()");
  const Address address(listener.name);
  if (::bind(listener.socket.get(), address.get(), address.size) != 0) {
    return Failed("bind()");
  }
  if (::listen(listener.socket.get(), kBacklog) != 0) return Failed("listen()");
  return listener;
}

absl::StatusOr<FileDescriptor> MessageSocket::Connect(absl::string_view name) {
  FileDescriptor socket = NewSocket();
  if (!socket.is_open()) return Failed("socket()");
  const Address address(name);
  if (::connect(socket.get(), address.get(), address.size) != 0) {
    return Failed("connect()");
  }
  if (!IsOwnUser(socket)) {
    return absl::PermissionDeniedError(
        "the server's local socket is another user's");
  }
  return socket;
}

absl::StatusOr<FileDescriptor> MessageSocket::Accept(
    const FileDescriptor& listener) {
  FileDescriptor socket(::accept4(listener.get(), nullptr, nullptr,
                                  SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) return Failed("accept()");
  if (!IsOwnUser(socket)) {
    return absl::PermissionDeniedError(
        "another user's process has connected to the local socket");
  }
  return socket;
}

bool MessageSocket::Receive(absl::Span<std::byte> to, size_t* count,
                            Wait wait) {
  while (true) {
    iovec piece{to.data(), to.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(kMostFiles * sizeof(int))];
    msghdr header = {};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t got =
        ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got >= 0 && !TakeFiles(&header, &files_)) return false;
    if (got > 0) {
      *count = static_cast<size_t>(got);
      return true;
    }
    if (got == 0) return false;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    if (!wait(socket_.get(), POLLIN)) return false;
  }
}

bool MessageSocket::Fill(size_t bytes, Wait wait) {
  if (buffer_.empty()) buffer_.resize(kBufferBytes);
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ + bytes > buffer_.size()) {
    std::copy(buffer_.begin() + begin_, buffer_.begin() + end_,
              buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  while (end_ - begin_ < bytes) {
    size_t count;
    if (!Receive(absl::MakeSpan(buffer_).subspan(end_), &count, wait)) {
      return false;
    }
    end_ += count;
  }
  return true;
}

bool MessageSocket::Read(Message* message, Wait wait) {
  if (!Fill(sizeof(Head), wait)) return false;
  Head head;
  std::memcpy(&head, &buffer_[begin_], sizeof(head));
  begin_ += sizeof(head);
  const size_t length = head.length;
  message->kind = static_cast<Kind>(head.kind);
  if (length > kMaxMessageBytes ||
      head.kind > static_cast<uint32_t>(Kind::kRegionRefused)) {
    return false;
  }
  message->bytes = grpc::Slice(length);
  // Nobody else has seen it yet.
  auto* const to = reinterpret_cast<std::byte*>(
      const_cast<uint8_t*>(message->bytes.begin()));
  size_t there = std::min(length, end_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, there);
  begin_ += there;
  while (there < length) {
    size_t count;
    if (!Receive({to + there, length - there}, &count, wait)) return false;
    there += count;
  }
  message->file = FileDescriptor();
  if (message->kind == Kind::kRegion) {
    if (files_.empty()) return false;
    message->file = std::move(files_.front());
    files_.pop_front();
  }
  return true;
}

bool MessageSocket::Write(Kind kind, absl::Span<const grpc::Slice> parts,
                          int file, Wait wait) {
  if (cut_) return false;
  cut_ = true;  // Until it is whole.
  size_t length = 0;
  for (const grpc::Slice& part : parts) length += part.size();
  Head head{static_cast<uint32_t>(length), static_cast<uint32_t>(kind)};
  absl::InlinedVector<iovec, 5> pieces;
  pieces.push_back({&head, sizeof(head)});
  for (const grpc::Slice& part : parts) {
    if (part.size() == 0) continue;
    pieces.push_back({const_cast<uint8_t*>(part.begin()), part.size()});
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  size_t first = 0;
  while (first < pieces.size()) {
    msghdr header = {};
    header.msg_iov = &pieces[first];
    header.msg_iovlen = pieces.size() - first;
    if (file >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      cmsghdr* const part = CMSG_FIRSTHDR(&header);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(part), &file, sizeof(int));
    }
    const ssize_t sent =
        ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
      if (!wait(socket_.get(), POLLOUT)) return false;
      continue;
    }
    file = -1;  // Has gone with the first byte.
    auto left = static_cast<size_t>(sent);
    while (first < pieces.size() && left >= pieces[first].iov_len) {
      left -= pieces[first++].iov_len;
    }
    if (left > 0) {
      pieces[first].iov_base =
          static_cast<char*>(pieces[first].iov_base) + left;
      pieces[first].iov_len -= left;
    }
  }
  cut_ = false;
  return true;
}

void MessageSocket::EndWrites() { ::shutdown(socket_.get(), SHUT_WR); }

void MessageSocket::EndAll() { ::shutdown(socket_.get(), SHUT_RDWR); }

void MessageSocket::EndReads() { ::shutdown(socket_.get(), SHUT_RD); }

bool MessageSocket::IsHungUp() const {
  pollfd poll = {socket_.get(), 0, 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace concord::local
