// What the storage room's tests share: a directory of their own, files' bytes,
// statuses taken apart.
#ifndef CONCORD_TESTS_SERVER_STORAGE_STORAGE_TESTING_H_
#define CONCORD_TESTS_SERVER_STORAGE_STORAGE_TESTING_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace concord {

// In memory where the system has such a file system: for tests that write the
// same small file thousands of times.
std::string FastTempDir();

// An empty directory, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  // `parent` ends with a slash.
  explicit TemporaryDirectory(const std::string& parent);
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }
  std::string operator/(absl::string_view name) const;
  // Names in it, sorted.
  std::vector<std::string> Names() const;

 private:
  std::string path_;
};

absl::Span<const std::byte> AsBytes(absl::string_view text);
std::string ReadWholeFile(const std::string& path);
void WriteWholeFile(const std::string& path, absl::string_view bytes);

// The value of `key` in the metadata of the error's detail; "" without.
std::string ErrorMetadata(const absl::Status& status, absl::string_view key);

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_STORAGE_STORAGE_TESTING_H_
