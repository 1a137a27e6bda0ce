// The checkpoints of one session on the disk, by step.
//
//   DIR/checkpoints/step-00000000000000000120.safetensors
//
// A name has a whole file behind it or does not exist: a file is written under
// another name, forced to the disk and renamed. What a file holds is its
// writer's business (safetensors.h).
//
// Errors: NOT_FOUND, CHECKPOINT_NOT_FOUND; RESOURCE_EXHAUSTED, STORAGE_FULL;
// UNAVAILABLE, STORAGE_FAILED (file_status.h). None of them harms a checkpoint
// that is there.
//
// Threads: safe, as writers are beside each other. One process at a time: who
// opens the directory removes what a dead process left half written.
#ifndef CONCORD_SERVER_STORAGE_CHECKPOINT_DIRECTORY_H_
#define CONCORD_SERVER_STORAGE_CHECKPOINT_DIRECTORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proto/local/file_descriptor.h"
#include "server/storage/mapped_file.h"

namespace concord {

struct CheckpointFile {
  uint64_t step = 0;
  uint64_t size_bytes = 0;
  absl::Time create_time;  // On the disk's file system's clock.
};

// A checkpoint on its way to the disk. Threads: one at a time. May outlive its
// directory.
class CheckpointWriter {
 public:
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  // Without a Finish() that succeeded: nothing is left of it.
  ~CheckpointWriter();

  absl::Status Write(absl::Span<const std::byte> bytes);

  // Once, last. When it returns OK the checkpoint is on the disk, in the place
  // of one of the same step. After an error it is as a rule not there; whole it
  // is in any case.
  absl::Status Finish();

 private:
  friend class CheckpointDirectory;
  CheckpointWriter(FileDescriptor file, std::string directory,
                   std::string temporary, std::string path);

  FileDescriptor file_;  // Closed: renamed, or given up.
  const std::string directory_, temporary_, path_;
};

class CheckpointDirectory {
 public:
  // `parent`, which exists, is the session's: makes "checkpoints" in it where
  // there is none.
  static absl::StatusOr<std::unique_ptr<CheckpointDirectory>> Open(
      const std::string& parent);

  // For who only reads: nothing is made or removed, and there may be none.
  static CheckpointDirectory At(const std::string& parent);

  CheckpointDirectory(const CheckpointDirectory&) = delete;
  CheckpointDirectory& operator=(const CheckpointDirectory&) = delete;

  absl::StatusOr<std::unique_ptr<CheckpointWriter>> Begin(uint64_t step);

  // By step. Other files in the directory are not looked at.
  absl::StatusOr<std::vector<CheckpointFile>> List() const;

  // The one that was written last.
  absl::StatusOr<CheckpointFile> Newest() const;

  // The checkpoint as it is now; it stays readable when it is removed or
  // replaced meanwhile.
  absl::StatusOr<MappedFile> Map(uint64_t step) const;

  // Where that step's file is, or would be.
  std::string Path(uint64_t step) const;

  // Removes all but the `keep` that were written last.
  absl::Status Prune(size_t keep);

  // Removes the checkpoints and the directory, which stays where other files
  // are in it: a session's end. A writer that is under way fails.
  absl::Status RemoveAll();

 private:
  explicit CheckpointDirectory(std::string path) : path_(std::move(path)) {}

  absl::Status RemoveLeftovers() const;

  const std::string path_;
  std::atomic<uint64_t> writers_{0};  // Begun so far: names their files.
};

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_CHECKPOINT_DIRECTORY_H_
