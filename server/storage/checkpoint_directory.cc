#include "server/storage/checkpoint_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "operators/errors.h"
#include "server/storage/file_operations.h"
#include "server/storage/file_status.h"

namespace concord {
namespace {

constexpr absl::string_view kDirectory = "checkpoints";
constexpr absl::string_view kPrefix = "step-";
constexpr absl::string_view kSuffix = ".safetensors";
constexpr absl::string_view kTemporaryPrefix = ".writing-";
constexpr size_t kStepDigits = 20;  // Of the largest 64-bit number.

std::string NameOf(uint64_t step) {
  return absl::StrFormat("%s%0*u%s", kPrefix, kStepDigits, step, kSuffix);
}

std::optional<uint64_t> StepOf(absl::string_view name) {
  uint64_t step;
  absl::string_view digits = name;
  if (!absl::ConsumePrefix(&digits, kPrefix) ||
      !absl::ConsumeSuffix(&digits, kSuffix) ||
      !absl::SimpleAtoi(digits, &step) || NameOf(step) != name) {
    return std::nullopt;
  }
  return step;
}

absl::Status NotFound(std::vector<std::pair<std::string, std::string>> metadata,
                      absl::string_view why) {
  return MakeError(absl::StatusCode::kNotFound,
                   {"CHECKPOINT_NOT_FOUND", "", "", "", std::move(metadata)},
                   why);
}

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()),
                                                      &::closedir);
  std::vector<std::string> names;
  if (directory == nullptr && errno == ENOENT) return names;
  if (directory == nullptr) return FileError(errno, "opening", path);
  while (true) {
    errno = 0;
    const struct dirent* const entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    names.emplace_back(entry->d_name);
  }
  if (errno != 0) return FileError(errno, "reading", path);
  return names;
}

// Oldest first. A session that was put back to an earlier step writes lower
// steps after higher ones.
void SortByAge(std::vector<CheckpointFile>* files) {
  absl::c_sort(*files,
               [](const CheckpointFile& left, const CheckpointFile& right) {
                 return std::tie(left.create_time, left.step) <
                        std::tie(right.create_time, right.step);
               });
}

}  // namespace

CheckpointWriter::CheckpointWriter(FileDescriptor file, std::string directory,
                                   std::string temporary, std::string path)
    : file_(std::move(file)),
      directory_(std::move(directory)),
      temporary_(std::move(temporary)),
      path_(std::move(path)) {}

CheckpointWriter::~CheckpointWriter() {
  // What cannot be removed now is removed when the directory is next opened.
  if (file_.is_open()) (void)RemoveFile(temporary_);
}

absl::Status CheckpointWriter::Write(absl::Span<const std::byte> bytes) {
  return WriteAll(file_, bytes, temporary_);
}

absl::Status CheckpointWriter::Finish() {
  absl::Status status = SyncFile(file_, temporary_);
  if (!status.ok()) return status;
  status = RenameFile(temporary_, path_);
  if (!status.ok()) return status;
  file_.Close();
  return SyncDirectory(directory_);
}

absl::StatusOr<std::unique_ptr<CheckpointDirectory>> CheckpointDirectory::Open(
    const std::string& parent) {
  auto directory = absl::WrapUnique(
      new CheckpointDirectory(absl::StrCat(parent, "/", kDirectory)));
  absl::Status status = MakeDirectory(directory->path_);
  if (!status.ok()) return status;
  status = SyncDirectory(parent);
  if (!status.ok()) return status;
  status = directory->RemoveLeftovers();
  if (!status.ok()) return status;
  return directory;
}

CheckpointDirectory CheckpointDirectory::At(const std::string& parent) {
  return CheckpointDirectory(absl::StrCat(parent, "/", kDirectory));
}

absl::Status CheckpointDirectory::RemoveLeftovers() const {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(path_);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, kTemporaryPrefix)) continue;
    const absl::Status status = RemoveFile(absl::StrCat(path_, "/", name));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointDirectory::Begin(
    uint64_t step) {
  std::string temporary = absl::StrCat(
      path_, "/", kTemporaryPrefix,
      writers_.fetch_add(1, std::memory_order_relaxed), "-", NameOf(step));
  absl::StatusOr<FileDescriptor> file =
      OpenFile(temporary, O_CREAT | O_EXCL | O_WRONLY);
  if (!file.ok()) return file.status();
  return absl::WrapUnique(new CheckpointWriter(
      *std::move(file), path_, std::move(temporary), Path(step)));
}

absl::StatusOr<std::vector<CheckpointFile>> CheckpointDirectory::List() const {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(path_);
  if (!names.ok()) return names.status();
  std::vector<CheckpointFile> files;
  for (const std::string& name : *names) {
    const std::optional<uint64_t> step = StepOf(name);
    if (!step.has_value()) continue;
    struct stat status;
    if (::stat(Path(*step).c_str(), &status) != 0) {
      if (errno == ENOENT) continue;  // Removed meanwhile.
      return FileError(errno, "stat of", Path(*step));
    }
    files.push_back({*step, static_cast<uint64_t>(status.st_size),
                     absl::TimeFromTimespec(status.st_mtim)});
  }
  absl::c_sort(files,
               [](const CheckpointFile& left, const CheckpointFile& right) {
                 return left.step < right.step;
               });
  return files;
}

absl::StatusOr<CheckpointFile> CheckpointDirectory::Newest() const {
  absl::StatusOr<std::vector<CheckpointFile>> files = List();
  if (!files.ok()) return files.status();
  if (files->empty()) {
    return NotFound({{"file", path_}}, "the session has no checkpoint");
  }
  SortByAge(&*files);
  return files->back();
}

absl::StatusOr<MappedFile> CheckpointDirectory::Map(uint64_t step) const {
  const std::string path = Path(step);
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.is_open()) return MappedFile::Map(file, path);
  if (errno != ENOENT) return FileError(errno, "opening", path);
  return NotFound({{"file", path}, {"step", absl::StrCat(step)}},
                  absl::StrCat("no checkpoint of step ", step));
}

std::string CheckpointDirectory::Path(uint64_t step) const {
  return absl::StrCat(path_, "/", NameOf(step));
}

absl::Status CheckpointDirectory::Prune(size_t keep) {
  absl::StatusOr<std::vector<CheckpointFile>> files = List();
  if (!files.ok()) return files.status();
  if (files->size() <= keep) return absl::OkStatus();
  SortByAge(&*files);
  for (size_t i = 0; i < files->size() - keep; ++i) {
    const absl::Status status = RemoveFile(Path((*files)[i].step));
    if (!status.ok()) return status;
  }
  return SyncDirectory(path_);
}

absl::Status CheckpointDirectory::RemoveAll() {
  absl::Status status = Prune(0);
  if (!status.ok()) return status;
  status = RemoveLeftovers();
  if (!status.ok()) return status;
  if (::rmdir(path_.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) {
    return FileError(errno, "removing", path_);
  }
  return absl::OkStatus();
}

}  // namespace concord
