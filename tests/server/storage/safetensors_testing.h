// Files for the tests of the format.
#ifndef CONCORD_TESTS_SERVER_STORAGE_SAFETENSORS_TESTING_H_
#define CONCORD_TESTS_SERVER_STORAGE_SAFETENSORS_TESTING_H_

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "proto/wire/checksum.h"
#include "server/storage/safetensors.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {

// A small session's tensors: vectors of odd length, matrices, a counter.
inline const std::vector<TensorSpec>& SmallTensors() {
  static const auto* const tensors =
      new std::vector<TensorSpec>{{"momentum.0", TensorType::kF32, {5}},
                                  {"momentum.1", TensorType::kF32, {5}},
                                  {"nothing", TensorType::kF64, {0, 3}},
                                  {"gram", TensorType::kF64, {2, 2}},
                                  {"updates", TensorType::kI64, {2}},
                                  {"committed_step", TensorType::kU64, {}}};
  return *tensors;
}

// Bytes for `tensor`, another pattern for each name.
inline std::string ContentOf(const TensorSpec& tensor) {
  std::string bytes(SizeBytes(tensor).value(), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(i * 7 + tensor.name.back());
  }
  return bytes;
}

// The file with those tensors and contents, handed over in pieces of at most
// `piece_bytes`.
inline std::string WriteFile(const std::vector<TensorSpec>& tensors,
                             const TensorMetadata& metadata,
                             size_t piece_bytes) {
  std::string file;
  const auto sink = [&file](absl::Span<const std::byte> bytes) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  };
  SafetensorsWriter writer(tensors, metadata, sink);
  EXPECT_TRUE(writer.Begin().ok());
  for (const TensorSpec& tensor : tensors) {
    const std::string content = ContentOf(tensor);
    for (size_t at = 0; at < content.size(); at += piece_bytes) {
      EXPECT_TRUE(
          writer.Write(tensor.name, AsBytes(content).subspan(at, piece_bytes))
              .ok());
    }
  }
  EXPECT_TRUE(writer.Finish().ok());
  EXPECT_EQ(writer.size_bytes(), file.size());
  return file;
}

inline std::string SmallFile() {
  return WriteFile(SmallTensors(),
                   {{"session", "sessions/small"}, {"options", R"({"a": 1})"}},
                   1000);
}

// Length, `header` as it is, `data` and, right for all of it, the checksum.
inline std::string HandMadeFile(absl::string_view header,
                                absl::string_view data) {
  const auto number = [](uint64_t value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  };
  std::string file = number(header.size());
  file.append(header.data(), header.size());
  file.append(data.data(), data.size());
  return file + number(wire::ChecksumOf(AsBytes(file)));
}

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_STORAGE_SAFETENSORS_TESTING_H_
