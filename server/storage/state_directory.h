// A server's directory: DIR/sessions/{id}/state and …/checkpoints/. One server
// at a time has it (flock on DIR/LOCK, which the kernel gives back when the
// process ends, however it ends).
//
// Errors: FAILED_PRECONDITION, STORAGE_IN_USE when another process has the
// directory; those of state_file.h and file_status.h.
//
// Threads: safe.
#ifndef CONCORD_SERVER_STORAGE_STATE_DIRECTORY_H_
#define CONCORD_SERVER_STORAGE_STATE_DIRECTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/local/file_descriptor.h"
#include "server/storage/checkpoint_directory.h"
#include "server/storage/state_file.h"

namespace concord {

// Of a session's state file: the one that counts, or one that is to take its
// place (DIR/sessions/{id}/state.next).
enum class StateVersion { kValid, kNext };

class StateDirectory {
 public:
  // Makes the directory where there is none, and locks it. `boot_id`: see
  // ReadBootId.
  static absl::StatusOr<std::unique_ptr<StateDirectory>> Open(
      const std::string& path, const std::string& boot_id);

  // Ids of the sessions that have a state file, in order.
  absl::StatusOr<std::vector<std::string>> StoredSessions() const;

  // The directory of one session; it need not exist.
  std::string SessionPath(absl::string_view id) const;
  std::string StatePath(absl::string_view id,
                        StateVersion version = StateVersion::kValid) const;

  // A new state file of session `id`; what lay there of an older session of
  // that id but for its checkpoints is gone.
  absl::StatusOr<std::shared_ptr<StateFile>> CreateState(
      absl::string_view id, const StateFile::Shape& shape,
      absl::string_view identity, absl::string_view creation,
      StateVersion version = StateVersion::kValid) const;
  // Makes the next state file the valid one, in one go: whoever opens the state
  // finds the old one or this.
  absl::Status ReplaceState(absl::string_view id) const;
  absl::StatusOr<std::shared_ptr<StateFile>> OpenState(
      absl::string_view id) const;
  bool HasState(absl::string_view id) const;

  // The checkpoints of session `id`, for the one that writes them.
  absl::StatusOr<std::unique_ptr<CheckpointDirectory>> OpenCheckpoints(
      absl::string_view id) const;

  // The same for who reads them, beside a writer, also of a session that is
  // gone.
  absl::StatusOr<std::vector<CheckpointFile>> Checkpoints(
      absl::string_view id) const;
  absl::StatusOr<CheckpointFile> NewestCheckpoint(absl::string_view id) const;
  absl::StatusOr<MappedFile> MapCheckpoint(absl::string_view id,
                                           uint64_t step) const;

  // Removes the state file of session `id`, or all that is stored of it.
  absl::Status RemoveState(absl::string_view id,
                           StateVersion version = StateVersion::kValid) const;
  absl::Status RemoveSession(absl::string_view id) const;

 private:
  StateDirectory(std::string path, std::string boot_id, FileDescriptor lock)
      : path_(std::move(path)),
        boot_id_(std::move(boot_id)),
        lock_(std::move(lock)) {}

  const std::string path_;
  const std::string boot_id_;
  const FileDescriptor lock_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_STATE_DIRECTORY_H_
