#include "server/storage/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "server/storage/file_operations.h"
#include "server/storage/file_status.h"

namespace concord {
namespace {

namespace fs = std::filesystem;

absl::Status MakeAll(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FileError(error.value(), "making the directory", path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDirectory>> StateDirectory::Open(
    const std::string& path, const std::string& boot_id) {
  absl::Status status = MakeAll(absl::StrCat(path, "/sessions"));
  if (!status.ok()) return status;
  const std::string lock_path = absl::StrCat(path, "/LOCK");
  absl::StatusOr<FileDescriptor> lock = OpenFile(lock_path, O_RDWR | O_CREAT);
  if (!lock.ok()) return lock.status();
  if (flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FileError(errno, "locking", lock_path);
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"STORAGE_IN_USE",
                      "state_dir",
                      path,
                      "a directory that no other server uses",
                      {}});
  }
  return std::unique_ptr<StateDirectory>(
      new StateDirectory(path, boot_id, *std::move(lock)));
}

std::string StateDirectory::SessionPath(absl::string_view id) const {
  return absl::StrCat(path_, "/sessions/", id);
}

std::string StateDirectory::StatePath(absl::string_view id,
                                      StateVersion version) const {
  return absl::StrCat(SessionPath(id), "/state",
                      version == StateVersion::kNext ? ".next" : "");
}

bool StateDirectory::HasState(absl::string_view id) const {
  std::error_code error;
  return fs::exists(StatePath(id), error);
}

absl::StatusOr<std::vector<std::string>> StateDirectory::StoredSessions()
    const {
  const std::string sessions = absl::StrCat(path_, "/sessions");
  std::vector<std::string> ids;
  std::error_code error;
  for (fs::directory_iterator next(sessions, error), end; !error && next != end;
       next.increment(error)) {
    const std::string id = next->path().filename().string();
    if (HasState(id)) ids.push_back(id);
  }
  if (error) return FileError(error.value(), "listing", sessions);
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<std::shared_ptr<StateFile>> StateDirectory::CreateState(
    absl::string_view id, const StateFile::Shape& shape,
    absl::string_view identity, absl::string_view creation,
    StateVersion version) const {
  absl::Status status = MakeAll(SessionPath(id));
  if (status.ok()) status = RemoveState(id, version);
  if (!status.ok()) return status;
  return StateFile::Create(StatePath(id, version), shape, identity, creation,
                           boot_id_);
}

absl::Status StateDirectory::ReplaceState(absl::string_view id) const {
  const absl::Status status =
      RenameFile(StatePath(id, StateVersion::kNext), StatePath(id));
  if (!status.ok()) return status;
  // From here on the new file is the session's, whatever becomes of the sync:
  // the old one has no name any more. A server that dies leaves it so; only
  // the machine's failure could bring the old name back, and then its boot
  // finds a file that is not clean.
  SyncDirectory(SessionPath(id)).IgnoreError();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<StateFile>> StateDirectory::OpenState(
    absl::string_view id) const {
  // One that was not finished when the server died.
  const absl::Status status = RemoveState(id, StateVersion::kNext);
  if (!status.ok()) return status;
  return StateFile::Open(StatePath(id), boot_id_);
}

absl::StatusOr<std::unique_ptr<CheckpointDirectory>>
StateDirectory::OpenCheckpoints(absl::string_view id) const {
  const std::string path = SessionPath(id);
  const absl::Status status = MakeAll(path);
  if (!status.ok()) return status;
  return CheckpointDirectory::Open(path);
}

absl::StatusOr<std::vector<CheckpointFile>> StateDirectory::Checkpoints(
    absl::string_view id) const {
  return CheckpointDirectory::At(SessionPath(id)).List();
}

absl::StatusOr<CheckpointFile> StateDirectory::NewestCheckpoint(
    absl::string_view id) const {
  return CheckpointDirectory::At(SessionPath(id)).Newest();
}

absl::StatusOr<MappedFile> StateDirectory::MapCheckpoint(absl::string_view id,
                                                         uint64_t step) const {
  return CheckpointDirectory::At(SessionPath(id)).Map(step);
}

absl::Status StateDirectory::RemoveState(absl::string_view id,
                                         StateVersion version) const {
  return RemoveFile(StatePath(id, version));
}

absl::Status StateDirectory::RemoveSession(absl::string_view id) const {
  const std::string path = SessionPath(id);
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return FileError(error.value(), "removing", path);
  return absl::OkStatus();
}

}  // namespace concord
