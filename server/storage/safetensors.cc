#include "server/storage/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

// Vectors go from memory to the file as they are.
static_assert(std::endian::native == std::endian::little);

constexpr absl::string_view kFormatKey = "format";
constexpr absl::string_view kFormat = "concord";
constexpr absl::string_view kVersionKey = "version";

// How the headers written here begin. A damaged file is known by it to be ours
// where the rest of its header cannot be read.
constexpr absl::string_view kMark = R"({"__metadata__":{"format":"concord")";

TensorSpec ChecksumSpec() { return {"checksum", TensorType::kU64, {1}}; }

constexpr size_t kChecksumBytes = 8;

// A number of 8 bytes, as files have it.
uint64_t LoadNumber(absl::Span<const std::byte> bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) {
    number |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  }
  return number;
}

absl::string_view AsText(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::Span<const std::byte> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

absl::Status FileProblem(absl::StatusCode code, absl::string_view reason,
                         absl::string_view file, absl::string_view why) {
  return MakeError(code,
                   {std::string(reason),
                    "",
                    "",
                    "",
                    {{"file", std::string(file)}, {"why", std::string(why)}}},
                   absl::StrCat(file, ": ", why));
}

absl::Status DamagedFile(absl::string_view file, absl::string_view why) {
  return FileProblem(absl::StatusCode::kDataLoss, "CHECKPOINT_DAMAGED", file,
                     why);
}

absl::Status ForeignFile(absl::string_view file, absl::string_view why) {
  return FileProblem(absl::StatusCode::kFailedPrecondition, "STATE_FOREIGN",
                     file, absl::StrCat("no checkpoint of Concord: ", why));
}

absl::string_view Lookup(const TensorMetadata& metadata,
                         absl::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return value;
  }
  return "";
}

// What is wrong with the places of `tensors`, sorted by them, in `size` bytes;
// "" when they fill them.
std::string CheckPlaces(const std::vector<SafetensorsHeader::Tensor>& tensors,
                        uint64_t size) {
  uint64_t end = 0;
  for (const SafetensorsHeader::Tensor& tensor : tensors) {
    if (tensor.begin < end) {
      return absl::StrCat("tensor ", tensor.spec.name, " overlaps the one ",
                          "before it by ", end - tensor.begin, " bytes");
    }
    if (tensor.begin > end) {
      return absl::StrCat("a gap of ", tensor.begin - end,
                          " bytes before tensor ", tensor.spec.name);
    }
    end = tensor.end;
  }
  if (end > size) {
    return absl::StrCat("truncated: ", size, " bytes of tensors instead of ",
                        end);
  }
  if (end < size) {
    return absl::StrCat(size - end, " bytes after the last tensor");
  }
  return "";
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::vector<TensorSpec> tensors,
                                     TensorMetadata metadata, Sink sink)
    : tensors_(std::move(tensors)),
      metadata_([&metadata] {
        TensorMetadata all = {
            {std::string(kFormatKey), std::string(kFormat)},
            {std::string(kVersionKey), absl::StrCat(kSafetensorsVersion)}};
        absl::c_move(metadata, std::back_inserter(all));
        return all;
      }()),
      sink_(sink) {
  tensors_.push_back(ChecksumSpec());
}

absl::Status SafetensorsWriter::Misplaced(absl::string_view what) {
  status_ = absl::InternalError(absl::StrCat("safetensors: ", what));
  return status_;
}

absl::Status SafetensorsWriter::Put(absl::Span<const std::byte> bytes) {
  status_ = sink_(bytes);
  return status_;
}

void SafetensorsWriter::SkipComplete() {
  while (left_ == 0 && tensor_ + 1 < tensors_.size()) {
    left_ = *SizeBytes(tensors_[++tensor_]);
  }
}

absl::Status SafetensorsWriter::Begin() {
  if (!status_.ok()) return status_;
  if (begun_) return Misplaced("begun twice");
  const absl::StatusOr<std::string> header = FormatHeader(metadata_, tensors_);
  if (!header.ok()) return status_ = header.status();
  begun_ = true;
  size_bytes_ = header->size();
  for (const TensorSpec& tensor : tensors_) size_bytes_ += *SizeBytes(tensor);
  left_ = *SizeBytes(tensors_.front());
  SkipComplete();
  checksum_.Add(AsBytes(*header));
  return Put(AsBytes(*header));
}

absl::Status SafetensorsWriter::Write(absl::string_view tensor,
                                      absl::Span<const std::byte> piece) {
  if (!status_.ok()) return status_;
  if (piece.empty()) return absl::OkStatus();
  if (!begun_ || tensor_ + 1 >= tensors_.size() ||
      tensors_[tensor_].name != tensor) {
    return Misplaced(absl::StrCat(tensor, " out of turn"));
  }
  if (piece.size() > left_) {
    return Misplaced(
        absl::StrCat(piece.size() - left_, " bytes too many for ", tensor));
  }
  left_ -= piece.size();
  SkipComplete();
  checksum_.Add(piece);
  return Put(piece);
}

absl::Status SafetensorsWriter::Finish() {
  if (!status_.ok()) return status_;
  if (!begun_ || tensor_ + 1 != tensors_.size() || left_ != kChecksumBytes) {
    return Misplaced("finished too early, or twice");
  }
  left_ = 0;
  std::array<std::byte, kChecksumBytes> bytes;
  const uint64_t digest = checksum_.Digest();
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(digest >> (8 * i));
  }
  return Put(bytes);
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::Parse(
    absl::Span<const std::byte> file, std::string name) {
  if (file.size() < kHeaderLengthBytes) {
    return DamagedFile(name,
                       absl::StrCat("truncated: ", file.size(), " bytes"));
  }
  const uint64_t header_bytes = LoadNumber(file);
  absl::Span<const std::byte> rest = file.subspan(kHeaderLengthBytes);
  // Known by its first bytes, as far as there are any.
  const bool is_marked =
      absl::StartsWith(AsText(rest), kMark.substr(0, rest.size()));
  const auto unreadable = [&](absl::string_view why) {
    return is_marked ? DamagedFile(name, why) : ForeignFile(name, why);
  };
  if (header_bytes > rest.size() || header_bytes > kMaxHeaderBytes) {
    return unreadable(absl::StrCat(
        header_bytes > kMaxHeaderBytes ? "bad header: " : "truncated: ",
        header_bytes, " bytes of header, of which ", rest.size(),
        " could be there"));
  }
  absl::StatusOr<SafetensorsHeader> header =
      ParseHeader(AsText(rest.first(header_bytes)));
  if (!header.ok()) {
    return unreadable(absl::StrCat("bad header: ", header.status().message()));
  }
  const absl::Span<const std::byte> data = rest.subspan(header_bytes);
  std::vector<SafetensorsHeader::Tensor>& tensors = header->tensors;
  absl::c_stable_sort(tensors, [](const auto& left, const auto& right) {
    return std::pair(left.begin, left.end) < std::pair(right.begin, right.end);
  });

  // A flipped bit in the mark or the version is damage too: they are believed
  // once the checksum fits.
  const bool has_checksum =
      !tensors.empty() && tensors.back().spec == ChecksumSpec();
  const bool is_ours = Lookup(header->metadata, kFormatKey) == kFormat;
  int version = 0;
  const bool has_version =
      absl::SimpleAtoi(Lookup(header->metadata, kVersionKey), &version);
  if (!has_checksum && !is_ours) return ForeignFile(name, "another format");
  const std::string misplaced = CheckPlaces(tensors, data.size());
  if (!misplaced.empty()) return DamagedFile(name, misplaced);
  if (!has_checksum) return DamagedFile(name, "no checksum");
  const size_t end = file.size() - kChecksumBytes;
  const uint64_t stored = LoadNumber(file.subspan(end));
  const uint64_t computed = wire::ChecksumOf(file.first(end));
  if (stored != computed) {
    return DamagedFile(
        name, absl::StrCat("wrong checksum: ", absl::Hex(stored),
                           ", of its bytes it is ", absl::Hex(computed)));
  }
  if (!is_ours) return ForeignFile(name, "another format");
  if (!has_version || version < 1) {
    return DamagedFile(name, "bad header: no version");
  }
  if (version > kSafetensorsVersion) {
    return FileProblem(
        absl::StatusCode::kFailedPrecondition, "STATE_NEWER", name,
        absl::StrCat("version ", version, "; this build reads up to ",
                     kSafetensorsVersion));
  }

  SafetensorsReader reader;
  tensors.pop_back();
  for (SafetensorsHeader::Tensor& tensor : tensors) {
    reader.tensors_.push_back(
        {std::move(tensor.spec),
         data.subspan(tensor.begin, tensor.end - tensor.begin)});
  }
  reader.name_ = std::move(name);
  reader.metadata_ = std::move(header->metadata);
  return reader;
}

const SafetensorsReader::Tensor* SafetensorsReader::Find(
    absl::string_view name) const {
  const auto found = absl::c_find_if(
      tensors_, [&](const Tensor& tensor) { return tensor.spec.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

absl::StatusOr<absl::Span<const std::byte>> SafetensorsReader::Get(
    const TensorSpec& expected) const {
  const Tensor* const tensor = Find(expected.name);
  if (tensor == nullptr) {
    return Damaged(absl::StrCat("no tensor ", expected.name));
  }
  if (tensor->spec != expected) {
    return Damaged(absl::StrCat("tensor ", expected.name, " is ",
                                ToString(tensor->spec), " instead of ",
                                ToString(expected)));
  }
  return tensor->bytes;
}

absl::string_view SafetensorsReader::Metadata(absl::string_view key) const {
  return Lookup(metadata_, key);
}

absl::Status SafetensorsReader::Damaged(absl::string_view why) const {
  return DamagedFile(name_, why);
}

}  // namespace concord
