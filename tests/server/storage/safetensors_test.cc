#include "server/storage/safetensors.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/storage/safetensors_testing.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

std::string AsString(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(SafetensorsTest, WhatWasWrittenIsRead) {
  const std::string file = SmallFile();
  const SafetensorsReader reader =
      SafetensorsReader::Parse(AsBytes(file), "small").value();
  ASSERT_EQ(reader.tensors().size(), SmallTensors().size());
  for (size_t i = 0; i < SmallTensors().size(); ++i) {
    const TensorSpec& spec = SmallTensors()[i];
    EXPECT_EQ(reader.tensors()[i].spec, spec);
    EXPECT_EQ(AsString(reader.tensors()[i].bytes), ContentOf(spec));
    EXPECT_EQ(reader.Find(spec.name), &reader.tensors()[i]);
    EXPECT_EQ(AsString(reader.Get(spec).value()), ContentOf(spec));
  }
  EXPECT_THAT(reader.metadata(),
              ElementsAre(Pair("format", "concord"), Pair("version", "1"),
                          Pair("session", "sessions/small"),
                          Pair("options", R"({"a": 1})")));
  EXPECT_EQ(reader.Metadata("session"), "sessions/small");
  EXPECT_EQ(reader.Metadata("none"), "");
  EXPECT_EQ(reader.Find("checksum"), nullptr);
}

TEST(SafetensorsTest, HowTheBytesAreCutMakesNoDifference) {
  const TensorMetadata metadata = {{"session", "sessions/cut"}};
  const std::string whole = WriteFile(SmallTensors(), metadata, 1000);
  for (const size_t piece_bytes : {1, 3, 8}) {
    EXPECT_EQ(WriteFile(SmallTensors(), metadata, piece_bytes), whole);
  }
}

TEST(SafetensorsTest, TheHeaderEndsAtAMultipleOfEight) {
  for (size_t length = 0; length < 9; ++length) {
    const std::string file =
        WriteFile({}, {{"session", std::string(length, 'x')}}, 1);
    EXPECT_EQ(file.size() % 8, 0) << length;
    EXPECT_THAT(
        file.substr(8),
        StartsWith(R"({"__metadata__":{"format":"concord","version":)"));
    EXPECT_TRUE(SafetensorsReader::Parse(AsBytes(file), "file").ok());
  }
}

TEST(SafetensorsTest, ATensorOfAnotherKindIsNotTaken) {
  const std::string file = SmallFile();
  const SafetensorsReader reader =
      SafetensorsReader::Parse(AsBytes(file), "small").value();
  for (const TensorSpec& expected :
       std::vector<TensorSpec>{{"gram", TensorType::kF64, {4}},
                               {"gram", TensorType::kI64, {2, 2}},
                               {"gram.0", TensorType::kF64, {2, 2}}}) {
    const absl::Status status = reader.Get(expected).status();
    EXPECT_EQ(GetErrorReason(status), "CHECKPOINT_DAMAGED");
    EXPECT_EQ(ErrorMetadata(status, "file"), "small");
    EXPECT_THAT(ErrorMetadata(status, "why"), HasSubstr(expected.name));
  }
}

TEST(SafetensorsTest, APieceOutOfPlaceEndsTheFile) {
  const std::string bytes(64, 'x');
  const auto sink = [](absl::Span<const std::byte>) {
    return absl::OkStatus();
  };
  using Attempt = std::function<absl::Status(SafetensorsWriter&)>;
  const std::vector<Attempt> attempts = {
      [&](SafetensorsWriter& writer) {  // Too many bytes.
        return writer.Write("momentum.0", AsBytes(bytes).first(21));
      },
      [&](SafetensorsWriter& writer) {  // Another one's turn.
        return writer.Write("momentum.1", AsBytes(bytes).first(20));
      },
      [&](SafetensorsWriter& writer) { return writer.Begin(); },
      [&](SafetensorsWriter& writer) { return writer.Finish(); },
  };
  for (const Attempt& attempt : attempts) {
    SafetensorsWriter writer(SmallTensors(), {}, sink);
    ASSERT_TRUE(writer.Begin().ok());
    EXPECT_EQ(attempt(writer).code(), absl::StatusCode::kInternal);
    EXPECT_EQ(writer.Write("momentum.0", AsBytes(bytes).first(20)).code(),
              absl::StatusCode::kInternal);
    EXPECT_EQ(writer.Finish().code(), absl::StatusCode::kInternal);
  }
}

TEST(SafetensorsTest, TheSinksFirstErrorEndsTheFile) {
  int calls = 0;
  const auto sink = [&calls](absl::Span<const std::byte>) {
    return ++calls == 2 ? absl::UnavailableError("gone") : absl::OkStatus();
  };
  SafetensorsWriter writer({{"a", TensorType::kU64, {2}}}, {}, sink);
  const std::string bytes(8, 'x');
  ASSERT_TRUE(writer.Begin().ok());
  EXPECT_EQ(writer.Write("a", AsBytes(bytes)).message(), "gone");
  EXPECT_EQ(writer.Write("a", AsBytes(bytes)).message(), "gone");
  EXPECT_EQ(writer.Finish().message(), "gone");
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace concord
