#include "server/storage/file_status.h"

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {

absl::Status FileError(int error, absl::string_view doing,
                       const std::string& path) {
  const std::string why = std::generic_category().message(error);
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return MakeError(full ? absl::StatusCode::kResourceExhausted
                        : absl::StatusCode::kUnavailable,
                   {full ? "STORAGE_FULL" : "STORAGE_FAILED",
                    "",
                    "",
                    "",
                    {{"file", path}, {"why", why}}},
                   absl::StrCat(doing, " ", path, ": ", why));
}

}  // namespace concord
