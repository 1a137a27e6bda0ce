#include "server/storage/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "server/storage/file_status.h"

namespace concord {

absl::StatusOr<MappedFile> MappedFile::Map(const FileDescriptor& file,
                                           const std::string& path) {
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    return FileError(errno, "fstat of", path);
  }
  const size_t size = static_cast<size_t>(status.st_size);
  // mmap() refuses to map nothing.
  if (size == 0) return MappedFile({});
  void* const data =
      ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) return FileError(errno, "mmap of", path);
  // Only advice. It is read from begin to end, once to verify it and once more.
  (void)::madvise(data, size, MADV_WILLNEED);
  return MappedFile(
      absl::MakeConstSpan(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

}  // namespace concord
