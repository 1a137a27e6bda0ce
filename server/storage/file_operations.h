// System calls on files, repeated where a signal cut them short, with errors
// as FileError makes them. Threads: safe on different files.
#ifndef CONCORD_SERVER_STORAGE_FILE_OPERATIONS_H_
#define CONCORD_SERVER_STORAGE_FILE_OPERATIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/local/file_descriptor.h"

namespace concord {

// open(2) with O_CLOEXEC added; `mode` is that of a file it creates.
absl::StatusOr<FileDescriptor> OpenFile(const std::string& path, int flags,
                                        mode_t mode = 0600);

// Writes all of `bytes` at the file's position. `path` is for the error, here
// as below.
absl::Status WriteAll(const FileDescriptor& file,
                      absl::Span<const std::byte> bytes,
                      const std::string& path);

// What was written is on the disk when this returns.
absl::Status SyncFile(const FileDescriptor& file, const std::string& path);

// Names given, changed and removed in the directory are on the disk.
absl::Status SyncDirectory(const std::string& path);

// rename(2): whoever looks sees the old file or the new one. On the disk after
// SyncDirectory.
absl::Status RenameFile(const std::string& from, const std::string& to);

// Succeeds also where there is no such file.
absl::Status RemoveFile(const std::string& path);

// Makes one directory, for this user alone; one that is there stays as it is.
absl::Status MakeDirectory(const std::string& path);

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_FILE_OPERATIONS_H_
