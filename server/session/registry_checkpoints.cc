// SessionRegistry: checkpoints, by name and as files.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/util/time_util.h"
#include "operators/errors.h"
#include "server/session/options.h"
#include "server/session/registry.h"

namespace concord {
namespace {

constexpr char kAccepted[] = "sessions/{id}/checkpoints/{step}";
// Beside the vectors: header and numbers.
constexpr uint64_t kRestOfFile = 64ull << 20;

struct CheckpointName {
  std::string id;
  uint64_t step = 0;
};

absl::StatusOr<CheckpointName> ParseName(absl::string_view field,
                                         absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  CheckpointName result;
  if (parts.size() != 4 || parts[0] != "sessions" ||
      parts[2] != "checkpoints" || !IsSessionId(parts[1]) ||
      !absl::SimpleAtoi(parts[3], &result.step)) {
    return InvalidField("INVALID_OPTION", field, name, kAccepted);
  }
  result.id = parts[1];
  return result;
}

absl::StatusOr<std::string> IdOf(absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() == 2 && parts[0] == "sessions" && IsSessionId(parts[1])) {
    return parts[1];
  }
  return InvalidField("INVALID_OPTION", "session", name, "sessions/{id}");
}

v1::Checkpoint ToMessage(absl::string_view session,
                         const CheckpointFile& file) {
  v1::Checkpoint message;
  message.set_name(absl::StrCat(session, "/checkpoints/", file.step));
  message.set_step(file.step);
  message.set_size_bytes(file.size_bytes);
  *message.mutable_create_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(file.create_time));
  return message;
}

absl::Status NoStateDirectory() {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"NOT_DURABLE", "", "", "", {}},
                   "the server has no state directory");
}

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::FindCreation(
    absl::string_view name, absl::string_view uid) {
  absl::StatusOr<std::shared_ptr<Session>> session = Get(name);
  if (!session.ok()) return session;
  const absl::Status status = (*session)->CheckUid(uid);
  if (!status.ok()) return status;
  return session;
}

absl::StatusOr<v1::Checkpoint> SessionRegistry::CreateCheckpoint(
    const v1::CreateCheckpointRequest& request) {
  const absl::StatusOr<std::shared_ptr<Session>> session =
      FindCreation(request.session(), request.uid());
  if (!session.ok()) return session.status();
  const absl::StatusOr<CheckpointFile> file = (*session)->Checkpoint();
  if (!file.ok()) return file.status();
  return ToMessage((*session)->name(), *file);
}

absl::StatusOr<v1::ListCheckpointsResponse> SessionRegistry::ListCheckpoints(
    const v1::ListCheckpointsRequest& request) const {
  if (options_.storage == nullptr) return NoStateDirectory();
  const absl::StatusOr<std::string> id = IdOf(request.session());
  if (!id.ok()) return id.status();
  const absl::StatusOr<std::vector<CheckpointFile>> files =
      options_.storage->Checkpoints(*id);
  if (!files.ok()) return files.status();
  v1::ListCheckpointsResponse response;
  for (const CheckpointFile& file : *files) {
    *response.add_checkpoints() = ToMessage(request.session(), file);
  }
  return response;
}

absl::StatusOr<v1::Session> SessionRegistry::RestoreFrom(
    absl::string_view checkpoint, Session* session) const {
  if (options_.storage == nullptr) return NoStateDirectory();
  const absl::StatusOr<CheckpointName> name =
      ParseName("checkpoint", checkpoint);
  if (!name.ok()) return name.status();
  const absl::StatusOr<MappedFile> file =
      options_.storage->MapCheckpoint(name->id, name->step);
  if (!file.ok()) return file.status();
  const absl::StatusOr<StoredCheckpoint> stored =
      ReadCheckpoint(file->bytes(), std::string(checkpoint));
  if (!stored.ok()) return stored.status();
  return session->Restore(*stored);
}

absl::StatusOr<v1::Session> SessionRegistry::Restore(
    const v1::RestoreSessionRequest& request) {
  if (options_.storage == nullptr) return NoStateDirectory();
  const absl::StatusOr<std::string> id = IdOf(request.name());
  if (!id.ok()) return id.status();
  std::string checkpoint = request.checkpoint();
  if (checkpoint.empty()) {
    const absl::StatusOr<CheckpointFile> newest =
        options_.storage->NewestCheckpoint(*id);
    if (!newest.ok()) return newest.status();
    checkpoint = absl::StrCat(request.name(), "/checkpoints/", newest->step);
  }
  const absl::StatusOr<std::shared_ptr<Session>> session =
      FindCreation(request.name(), request.uid());
  if (session.ok()) return RestoreFrom(checkpoint, session->get());

  // A session that is gone, or whose state file cannot be used, begins anew as
  // the checkpoint says that it was.
  bool unusable = false;
  {
    absl::MutexLock lock(&mutex_);
    unusable = unusable_.contains(request.name());
  }
  if (!unusable && session.status().code() != absl::StatusCode::kNotFound) {
    return session.status();
  }
  const absl::StatusOr<CheckpointName> name =
      ParseName("checkpoint", checkpoint);
  if (!name.ok()) return name.status();
  const absl::StatusOr<MappedFile> file =
      options_.storage->MapCheckpoint(name->id, name->step);
  if (!file.ok()) return file.status();
  const absl::StatusOr<StoredCheckpoint> stored =
      ReadCheckpoint(file->bytes(), checkpoint);
  if (!stored.ok()) return stored.status();
  {
    absl::MutexLock lock(&mutex_);
    unusable_.erase(request.name());
    const absl::Status removed = options_.storage->RemoveState(*id);
    if (!removed.ok()) return removed;
  }
  v1::CreateSessionRequest creation;
  creation.set_session_id(*id);
  *creation.mutable_session() = stored->session;
  creation.set_restore_from(checkpoint);
  return Create(creation);
}

absl::StatusOr<SessionSnapshot> SessionRegistry::Snapshot(
    const v1::ExportSessionRequest& request) {
  const absl::StatusOr<std::shared_ptr<Session>> session =
      FindCreation(request.name(), request.uid());
  if (!session.ok()) return session.status();
  return (*session)->Snapshot();
}

absl::StatusOr<v1::Session> SessionRegistry::Import(
    const v1::ImportSessionRequest::Target& target,
    absl::Span<const std::byte> file) {
  const absl::StatusOr<std::shared_ptr<Session>> session =
      FindCreation(target.name(), target.uid());
  if (!session.ok()) return session.status();
  const absl::StatusOr<StoredCheckpoint> stored =
      ReadCheckpoint(file, "the imported state");
  if (!stored.ok()) return stored.status();
  return (*session)->Restore(*stored);
}

absl::StatusOr<uint64_t> SessionRegistry::LargestImport(
    const v1::ImportSessionRequest::Target& target) {
  const absl::StatusOr<std::shared_ptr<Session>> session =
      FindCreation(target.name(), target.uid());
  if (!session.ok()) return session.status();
  return (*session)->options().memory_bytes() + kRestOfFile;
}

}  // namespace concord
