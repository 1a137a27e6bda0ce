// Checkpoints' format: safetensors, with a mark, a version and a checksum.
//
// `__metadata__` begins with format = "concord" and version; the last tensor is
// "checksum" (U64, [1]), XXH3 of all bytes before its own. So a file can be
// written, and sent, in one pass, and any reader of safetensors opens it. A
// later version may change everything but these three.
//
// Elements are little-endian. The header ends at a multiple of 8 bytes; beyond
// that no tensor's alignment is promised.
//
// Threads: no object here is shared.
#ifndef CONCORD_SERVER_STORAGE_SAFETENSORS_H_
#define CONCORD_SERVER_STORAGE_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/wire/checksum.h"
#include "server/storage/safetensors_header.h"

namespace concord {

// What this build writes; it reads this and every earlier one.
inline constexpr int kSafetensorsVersion = 1;

// Writes one file, front to back:
//
//   Begin(), Write(name, piece)…  tensor after tensor, Finish()
//
// An error of the sink is returned and ends the file; so does INTERNAL, a piece
// out of place: the caller's mistake.
class SafetensorsWriter {
 public:
  // Takes bytes in order; called from within the methods below alone.
  using Sink = absl::FunctionRef<absl::Status(absl::Span<const std::byte>)>;

  // `sink` must outlive the writer. `metadata` without format and version,
  // `tensors` in order and without the checksum: these are added here.
  SafetensorsWriter(std::vector<TensorSpec> tensors, TensorMetadata metadata,
                    Sink sink);
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The header. LIMIT_EXCEEDED when it is longer than a reader takes.
  absl::Status Begin();

  // The next bytes of `tensor`, whose turn it must be: the one before it is
  // complete, and these do not go beyond its end. Pieces may be cut anywhere.
  absl::Status Write(absl::string_view tensor,
                     absl::Span<const std::byte> piece);

  // The checksum. All tensors must be complete.
  absl::Status Finish();

  // Of the whole file, from Begin() on.
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  absl::Status Put(absl::Span<const std::byte> bytes);
  absl::Status Misplaced(absl::string_view what);
  // Moves over tensors that have no bytes left.
  void SkipComplete();

  std::vector<TensorSpec> tensors_;
  const TensorMetadata metadata_;
  const Sink sink_;
  wire::Checksum checksum_;
  uint64_t size_bytes_ = 0;
  bool begun_ = false;
  size_t tensor_ = 0;  // Whose turn it is.
  uint64_t left_ = 0;  // Bytes that it still lacks.
  absl::Status status_;
};

// A whole file in memory, verified. Views into that memory, which must outlive
// the reader.
class SafetensorsReader {
 public:
  struct Tensor {
    TensorSpec spec;
    absl::Span<const std::byte> bytes;
  };

  // Reads nothing outside `file`; `name` is what errors call it.
  //   DATA_LOSS, CHECKPOINT_DAMAGED   metadata file, why: truncated, bad
  //   header,
  //                                   gap or overlap, surplus bytes, wrong or
  //                                   missing checksum.
  //   FAILED_PRECONDITION, STATE_FOREIGN  not a safetensors file, or not ours.
  //   FAILED_PRECONDITION, STATE_NEWER    of a later version.
  static absl::StatusOr<SafetensorsReader> Parse(
      absl::Span<const std::byte> file, std::string name);

  // In the file's order, the checksum not among them.
  const std::vector<Tensor>& tensors() const { return tensors_; }

  // Null where there is none.
  const Tensor* Find(absl::string_view name) const;

  // The bytes of the tensor that `expected` describes; CHECKPOINT_DAMAGED where
  // the file has none, or one of another type or shape.
  absl::StatusOr<absl::Span<const std::byte>> Get(
      const TensorSpec& expected) const;

  // In order, format and version first.
  const TensorMetadata& metadata() const { return metadata_; }

  // "" where there is none.
  absl::string_view Metadata(absl::string_view key) const;

  // DATA_LOSS, CHECKPOINT_DAMAGED about this file, for what its caller finds
  // wrong in it.
  absl::Status Damaged(absl::string_view why) const;

 private:
  SafetensorsReader() = default;

  std::string name_;
  TensorMetadata metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_SAFETENSORS_H_
