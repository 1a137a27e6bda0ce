// Memory that two processes share: a memfd, all of which is there and which
// neither of them can make smaller any more.
//
//   client   auto region = MemoryRegion::Create(bytes);
//            pass region->file() over a Unix socket (message_socket.h)
//   server   auto region = MemoryRegion::Receive(std::move(file));
//
// The other process may write to it at any time: load each element once, never
// take a length, an offset or any other decision from it, and expect nothing
// that was written to be there still.
//
// Threads: safe once made.
#ifndef CONCORD_PROTO_LOCAL_MEMORY_REGION_H_
#define CONCORD_PROTO_LOCAL_MEMORY_REGION_H_

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/local/file_descriptor.h"

namespace concord::local {

class MemoryRegion {
 public:
  // At least `bytes` (whole pages), zeroed, allocated and sealed.
  // RESOURCE_EXHAUSTED where the system has no such memory. `bytes` >= 1.
  static absl::StatusOr<MemoryRegion> Create(size_t bytes);

  // Maps what another process has passed. INVALID_ARGUMENT unless it is memory
  // (not a file, a pipe, a device), sealed against shrinking, growing and
  // further seals, and wholly allocated: access to a page that is not there
  // would be a SIGBUS. The mapping keeps nothing of `file` open.
  static absl::StatusOr<MemoryRegion> Receive(FileDescriptor file);

  MemoryRegion(MemoryRegion&& other) noexcept
      : file_(std::move(other.file_)),
        bytes_(std::exchange(other.bytes_, {})) {}
  MemoryRegion& operator=(MemoryRegion&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryRegion();

  absl::Span<std::byte> bytes() const { return bytes_; }

  // Puts other memory, this process's own and with the same content, in the
  // place of what is shared: whoever has the region reads and writes it without
  // effect here.
  // RESOURCE_EXHAUSTED where the system refuses it; nothing has changed then.
  absl::Status Detach();

  // Of a created region; none of a received one.
  const FileDescriptor& file() const { return file_; }

 private:
  MemoryRegion(FileDescriptor file, absl::Span<std::byte> bytes)
      : file_(std::move(file)), bytes_(bytes) {}

  FileDescriptor file_;
  absl::Span<std::byte> bytes_;
};

}  // namespace concord::local

#endif  // CONCORD_PROTO_LOCAL_MEMORY_REGION_H_
