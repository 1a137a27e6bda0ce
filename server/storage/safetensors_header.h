// The header of a safetensors file: which tensors there are, and where.
//
// A file is 8 bytes, the header's length (little-endian); the header, JSON
// padded with spaces; the tensors' bytes. The header maps each tensor's name to
// its dtype, shape and data_offsets [begin, end), counted from the header's
// end; `__metadata__` maps strings to strings.
//
// Knows the format alone, nothing of Concord's own tensors. Threads: no state.
#ifndef CONCORD_SERVER_STORAGE_SAFETENSORS_HEADER_H_
#define CONCORD_SERVER_STORAGE_SAFETENSORS_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace concord {

enum class TensorType { kF32, kF64, kI64, kU64 };

size_t SizeOf(TensorType type);             // Bytes of an element.
absl::string_view NameOf(TensorType type);  // "F32"

struct TensorSpec {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<uint64_t> shape;  // Empty: one element.

  bool operator==(const TensorSpec&) const = default;
};

// Of all its elements; none where that is more than 64 bits can count.
std::optional<uint64_t> SizeBytes(const TensorSpec& tensor);

// "F64 [3, 3]"
std::string ToString(const TensorSpec& tensor);

// In order, UTF-8.
using TensorMetadata = std::vector<std::pair<std::string, std::string>>;

struct SafetensorsHeader {
  struct Tensor {
    TensorSpec spec;
    uint64_t begin = 0, end = 0;  // Bytes from the header's end.
  };
  TensorMetadata metadata;
  std::vector<Tensor> tensors;  // As listed.
};

// Bytes before the header's text.
inline constexpr size_t kHeaderLengthBytes = 8;
// Longer headers are not read; safetensors' own limit.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// What a file begins with: length, header, padding to a multiple of 8, with the
// metadata first and the tensors one after the other in the order given. Text
// that is not UTF-8 gets replacement characters. RESOURCE_EXHAUSTED,
// LIMIT_EXCEEDED beyond kMaxHeaderBytes.
absl::StatusOr<std::string> FormatHeader(
    const TensorMetadata& metadata, const std::vector<TensorSpec>& tensors);

// The header whose text (without the length) is `text`. An error is
// INVALID_ARGUMENT and its message says what is wrong: no JSON, a name given
// twice, a field too many or too few, an unknown dtype, offsets that do not
// agree with the shape. Whether the tensors fill the file, without gap or
// overlap, is the reader's to check. Takes no more memory than a small multiple
// of the text.
absl::StatusOr<SafetensorsHeader> ParseHeader(absl::string_view text);

}  // namespace concord

#endif  // CONCORD_SERVER_STORAGE_SAFETENSORS_HEADER_H_
