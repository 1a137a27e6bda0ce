#include "server/storage/file_operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "server/storage/file_status.h"

namespace concord {
namespace {

// The result of `call`, once no signal interrupts it.
template <typename Call>
auto Uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

absl::StatusOr<FileDescriptor> OpenFile(const std::string& path, int flags,
                                        mode_t mode) {
  FileDescriptor file(Uninterrupted(
      [&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
  if (!file.is_open()) return FileError(errno, "opening", path);
  return file;
}

absl::Status WriteAll(const FileDescriptor& file,
                      absl::Span<const std::byte> bytes,
                      const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = Uninterrupted(
        [&] { return ::write(file.get(), bytes.data(), bytes.size()); });
    if (written < 0) return FileError(errno, "writing", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SyncFile(const FileDescriptor& file, const std::string& path) {
  if (Uninterrupted([&] { return ::fsync(file.get()); }) != 0) {
    return FileError(errno, "fsync of", path);
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const absl::StatusOr<FileDescriptor> directory =
      OpenFile(path, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return directory.status();
  return SyncFile(*directory, path);
}

absl::Status RenameFile(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return FileError(errno, "renaming to", to);
  }
  return absl::OkStatus();
}

absl::Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return FileError(errno, "removing", path);
  }
  return absl::OkStatus();
}

absl::Status MakeDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError(errno, "making the directory", path);
  }
  return absl::OkStatus();
}

}  // namespace concord
