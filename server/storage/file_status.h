// What the operating system says about a file, as a status. One place decides
// which error means that the disk is full.
#ifndef CONCORD_SERVER_STORAGE_FILE_STATUS_H_
#define CONCORD_SERVER_STORAGE_FILE_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace concord {

// The status of an operation that failed with `error`, an errno: `doing` is
// what was tried ("writing"), `path` with what. RESOURCE_EXHAUSTED,
// STORAGE_FULL where there is no room (the disk, a quota, the process's limit
// on a file's size); else UNAVAILABLE, STORAGE_FAILED. Metadata: file, why.
// Threads: safe.
absl::Status FileError(int error, absl::string_view doing,
                       const std::string& path);

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_FILE_STATUS_H_
