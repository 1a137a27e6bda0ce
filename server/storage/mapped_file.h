// A file as memory, for reading.
#ifndef CONCORD_SERVER_STORAGE_MAPPED_FILE_H_
#define CONCORD_SERVER_STORAGE_MAPPED_FILE_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/local/file_descriptor.h"

namespace concord {

// Stays readable after the file's name is gone. Who shortens the file itself
// meanwhile takes the process with it (SIGBUS): for files that are written
// once. Threads: safe once made.
class MappedFile {
 public:
  // All of `file`, which may be closed afterwards. `path` is for the error.
  static absl::StatusOr<MappedFile> Map(const FileDescriptor& file,
                                        const std::string& path);

  MappedFile(MappedFile&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  absl::Span<const std::byte> bytes_;  // Empty: nothing is mapped.
};

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_MAPPED_FILE_H_
