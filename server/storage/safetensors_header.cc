#include "server/storage/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "operators/errors.h"

namespace concord {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::string_view kMetadataKey = "__metadata__";
constexpr size_t kHeaderAlignment = 8;
// No tensor of ours has more than two.
constexpr size_t kMaxDimensions = 16;

constexpr TensorType kTypes[] = {TensorType::kF32, TensorType::kF64,
                                 TensorType::kI64, TensorType::kU64};

std::optional<TensorType> TypeNamed(absl::string_view name) {
  for (const TensorType type : kTypes) {
    if (NameOf(type) == name) return type;
  }
  return std::nullopt;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Follows the parser through a header. Only what a header may hold is kept, so
// that hostile text costs no more than its length.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  const std::string& error() const { return error_; }
  SafetensorsHeader TakeHeader() { return std::move(header_); }

  bool start_object(size_t) override {
    switch (place_) {
      case Place::kBegin:
        place_ = Place::kFile;
        return true;
      case Place::kEntry:
        if (key_ == kMetadataKey) {
          place_ = Place::kMetadata;
        } else {
          place_ = Place::kTensor;
          tensor_ = {};
          tensor_.spec.name = key_;
          has_type_ = has_shape_ = has_offsets_ = false;
        }
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& key) override {
    switch (place_) {
      case Place::kFile:
        if (!names_.insert(key).second) return Fail("given twice: ", key);
        key_ = key;
        place_ = Place::kEntry;
        return true;
      case Place::kMetadata:
        if (!metadata_keys_.insert(key).second) {
          return Fail("metadata given twice: ", key);
        }
        header_.metadata.emplace_back(key, "");
        place_ = Place::kMetadataValue;
        return true;
      case Place::kTensor:
        if (key == "dtype" && !has_type_) {
          has_type_ = true;
          place_ = Place::kType;
        } else if (key == "shape" && !has_shape_) {
          has_shape_ = true;
          place_ = Place::kShape;
        } else if (key == "data_offsets" && !has_offsets_) {
          has_offsets_ = true;
          place_ = Place::kOffsets;
        } else {
          return Fail("tensor ", key_, " has a wrong field ", key);
        }
        return true;
      default:
        return Unexpected("a field");
    }
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadataValue) {
      header_.metadata.back().second = value;
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ != Place::kType) return Unexpected("a string");
    const std::optional<TensorType> type = TypeNamed(value);
    if (!type.has_value()) {
      return Fail("tensor ", key_, " has an unknown dtype ", value);
    }
    tensor_.spec.type = *type;
    place_ = Place::kTensor;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShape) {
      place_ = Place::kInShape;
      return true;
    }
    if (place_ == Place::kOffsets) {
      place_ = Place::kInOffsets;
      offsets_.clear();
      return true;
    }
    return Unexpected("an array");
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kInShape &&
        tensor_.spec.shape.size() < kMaxDimensions) {
      tensor_.spec.shape.push_back(value);
      return true;
    }
    if (place_ == Place::kInOffsets && offsets_.size() < 2) {
      offsets_.push_back(value);
      return true;
    }
    return Unexpected("a number");
  }

  bool end_array() override {
    if (place_ == Place::kInOffsets && offsets_.size() != 2) {
      return Fail("tensor ", key_, " has no two data_offsets");
    }
    place_ = Place::kTensor;
    return true;
  }

  bool end_object() override {
    switch (place_) {
      case Place::kMetadata:
        place_ = Place::kFile;
        return true;
      case Place::kTensor:
        place_ = Place::kFile;
        return EndTensor();
      default:  // kFile: the parser lets nothing else end here.
        place_ = Place::kEnd;
        return true;
    }
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override {
    return Unexpected("a negative number");
  }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a fraction");
  }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail("no JSON at byte ", position);
  }

 private:
  enum class Place {
    kBegin,
    kFile,  // Between entries.
    kEntry,
    kMetadata,
    kMetadataValue,
    kTensor,  // Between fields.
    kType,
    kShape,
    kInShape,
    kOffsets,
    kInOffsets,
    kEnd,
  };

  template <typename... Text>
  bool Fail(const Text&... text) {
    error_ = absl::StrCat(text...);
    return false;
  }

  bool Unexpected(absl::string_view what) {
    return key_.empty() ? Fail(what, " where none belongs")
                        : Fail(what, " where none belongs, at ", key_);
  }

  bool EndTensor() {
    if (!has_type_ || !has_shape_ || !has_offsets_) {
      return Fail("tensor ", key_, " lacks dtype, shape or data_offsets");
    }
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    if (tensor_.end < tensor_.begin ||
        SizeBytes(tensor_.spec) != tensor_.end - tensor_.begin) {
      return Fail("tensor ", key_, ", ", ToString(tensor_.spec),
                  ", does not fit its data_offsets ", tensor_.begin, " … ",
                  tensor_.end);
    }
    header_.tensors.push_back(std::move(tensor_));
    return true;
  }

  Place place_ = Place::kBegin;
  std::string key_;  // Of the entry being read.
  absl::flat_hash_set<std::string> names_, metadata_keys_;
  SafetensorsHeader::Tensor tensor_;
  bool has_type_ = false, has_shape_ = false, has_offsets_ = false;
  std::vector<uint64_t> offsets_;
  SafetensorsHeader header_;
  std::string error_;
};

}  // namespace

size_t SizeOf(TensorType type) { return type == TensorType::kF32 ? 4 : 8; }

absl::string_view NameOf(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return "F32";
    case TensorType::kF64:
      return "F64";
    case TensorType::kI64:
      return "I64";
    case TensorType::kU64:
      return "U64";
  }
  return "";
}

std::optional<uint64_t> SizeBytes(const TensorSpec& tensor) {
  uint64_t size = SizeOf(tensor.type);
  for (const uint64_t extent : tensor.shape) {
    if (extent == 0) return 0;
  }
  for (const uint64_t extent : tensor.shape) {
    if (size > std::numeric_limits<uint64_t>::max() / extent) {
      return std::nullopt;
    }
    size *= extent;
  }
  return size;
}

std::string ToString(const TensorSpec& tensor) {
  return absl::StrCat(NameOf(tensor.type), " [",
                      absl::StrJoin(tensor.shape, ", "), "]");
}

absl::StatusOr<std::string> FormatHeader(
    const TensorMetadata& metadata, const std::vector<TensorSpec>& tensors) {
  // Entry by entry, since an ordered_json object searches all its keys at each.
  std::string text = "{";
  if (!metadata.empty()) {
    Json strings = Json::object();
    for (const auto& [key, value] : metadata) strings[key] = value;
    absl::StrAppend(&text, Dump(std::string(kMetadataKey)), ":", Dump(strings));
  }
  uint64_t begin = 0;
  for (const TensorSpec& tensor : tensors) {
    const std::optional<uint64_t> size = SizeBytes(tensor);
    if (!size.has_value() ||
        *size > std::numeric_limits<uint64_t>::max() - begin) {
      return MakeError(absl::StatusCode::kResourceExhausted,
                       {"LIMIT_EXCEEDED",
                        tensor.name,
                        ToString(tensor),
                        "what 64 bits count",
                        {}});
    }
    absl::StrAppend(&text, text.size() > 1 ? "," : "", Dump(tensor.name),
                    R"(:{"dtype":")", NameOf(tensor.type), R"(","shape":[)",
                    absl::StrJoin(tensor.shape, ","), R"(],"data_offsets":[)",
                    begin, ",", begin + *size, "]}");
    begin += *size;
  }
  text += '}';
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment *
                  kHeaderAlignment,
              ' ');
  if (text.size() > kMaxHeaderBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     {"LIMIT_EXCEEDED",
                      "checkpoint.header",
                      absl::StrCat(text.size(), " bytes"),
                      absl::StrCat("≤ ", kMaxHeaderBytes),
                      {}});
  }
  std::string bytes(kHeaderLengthBytes, '\0');
  for (size_t i = 0; i < kHeaderLengthBytes; ++i) {
    bytes[i] = static_cast<char>(text.size() >> (8 * i));
  }
  return bytes + text;
}

absl::StatusOr<SafetensorsHeader> ParseHeader(absl::string_view text) {
  HeaderHandler handler;
  // Padding is white space to the parser; a number or a string alone is JSON
  // too, but the handler takes an object only.
  if (!Json::sax_parse(text.begin(), text.end(), &handler)) {
    return absl::InvalidArgumentError(handler.error());
  }
  return handler.TakeHeader();
}

}  // namespace concord
