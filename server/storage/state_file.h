// A session's state, in a file that is mapped into memory: the vectors of its
// operator and one record of everything small. What is written into the mapping
// is safe from the death of this process at once (the kernel keeps the pages),
// and from the machine's only after Close.
//
//   file    page 0   header: magic, version, sizes, identity; never rewritten
//           page 1   mount: boot id of the machine that has it open, clean flag
//           page 2   switch: the number of the valid record, its lower 32 bits
//                    and their complement (a flipped bit must not name the
//                    record before); 0: none yet
//           creation (bytes that are given at creation and never change)
//           record 0, record 1: number, length, checksum, bytes
//           vectors, one behind the other, each in whole pages
//
// Record number s lies in slot s % 2. Write puts the next record into the other
// slot and then stores the switch, one aligned 8-byte word: at any instant the
// file holds the old state or the new one, whole, if the vectors of the old one
// are left alone until then (OperatorStorage::keeps_committed).
//
// All space is allocated (posix_fallocate) before it is mapped: a full disk is
// an error here and not a SIGBUS later.
//
// Errors (operators/errors.h; metadata file, why):
//   STATE_DAMAGED   truncated, or a checksum does not fit
//   STATE_FOREIGN   not a state file, or one of another session
//   STATE_NEWER     of a version that this code does not know
//   UNCLEAN         not closed, and the machine has been started anew since
//   STORAGE_FULL, STORAGE_FAILED   the disk's (file_status.h)
//
// Threads: Allocate and Forget are safe; everything else one at a time.
#ifndef CONCORD_SERVER_STORAGE_STATE_FILE_H_
#define CONCORD_SERVER_STORAGE_STATE_FILE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "operators/momentum/vector_pool.h"
#include "proto/local/file_descriptor.h"

namespace concord {

class StateFile : public VectorSource {
 public:
  struct Shape {
    uint64_t vector_bytes = 0;
    uint32_t vectors = 0;       // That the file has from its begin on.
    uint64_t record_bytes = 0;  // Longest record.
  };

  // Makes the file, which must not exist. `identity` (at most 64 bytes) says
  // whose it is; `creation` is kept as it is. The file counts as made when the
  // first record is written; before, Open finds it FOREIGN.
  static absl::StatusOr<std::shared_ptr<StateFile>> Create(
      const std::string& path, const Shape& shape, absl::string_view identity,
      absl::string_view creation, absl::string_view boot_id);

  // Opens one that was made before, of this `boot_id` or closed cleanly.
  static absl::StatusOr<std::shared_ptr<StateFile>> Open(
      const std::string& path, absl::string_view boot_id);

  ~StateFile() override;
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  const Shape& shape() const { return shape_; }
  const std::string& identity() const { return identity_; }
  const std::string& creation() const { return creation_; }
  // The valid record, as Open found it.
  const std::string& record() const { return record_; }
  // Whether the file was closed before Open.
  bool was_clean() const { return was_clean_; }

  // Makes `record` the valid one. RESOURCE_EXHAUSTED where it is longer than
  // the shape allows; then the old one stays.
  absl::Status Write(absl::string_view record);

  // The same with a mark that everything is on the disk: writes all pages out
  // and marks the file as clean. Nothing may be written afterwards.
  // DEADLINE_EXCEEDED when `give_up`, which is asked now and then, says so: the
  // file is as good as before.
  absl::Status Close(absl::string_view record,
                     absl::FunctionRef<bool()> give_up);

  // ---- VectorSource ----
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      uint32_t place) override;
  void Forget(uint32_t place) override;

 private:
  struct Layout;
  struct Header;
  struct Mount;
  struct Record;

  StateFile(std::string path, FileDescriptor file, const Shape& shape,
            uint64_t creation_bytes);
  absl::Status MapControl();
  absl::Status Mark(absl::string_view boot_id, bool clean);
  absl::Status ReadRecord();
  std::byte* RecordAt(uint64_t number) const;
  std::atomic_ref<uint64_t> Switch() const;
  uint64_t OffsetOf(uint32_t place) const;
  uint64_t PlaceBytes() const;

  const std::string path_;
  const FileDescriptor file_;
  const Shape shape_;
  const uint64_t creation_bytes_;
  std::byte* control_ = nullptr;  // Everything before the vectors.
  uint64_t number_ = 0;           // Of the valid record; 0: none.
  uint64_t control_bytes_ = 0;
  std::string identity_;
  std::string creation_;
  std::string record_;
  std::string boot_id_;
  bool was_clean_ = false;
};

// The machine's, from one start of the kernel to the next. UNAVAILABLE,
// STORAGE_FAILED where the system tells none.
absl::StatusOr<std::string> ReadBootId();

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_STATE_FILE_H_
