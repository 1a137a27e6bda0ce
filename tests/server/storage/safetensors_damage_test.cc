// What is not the file that was written is refused, each damage by its name.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/storage/safetensors.h"
#include "tests/server/storage/safetensors_testing.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// Parses a copy without a byte to spare, so that a sanitizer sees a read beyond
// the end.
absl::Status ParseStatus(absl::string_view file) {
  const auto copy = std::make_unique<std::byte[]>(file.size());
  std::copy_n(AsBytes(file).begin(), file.size(), copy.get());
  return SafetensorsReader::Parse({copy.get(), file.size()}, "the file")
      .status();
}

// A hand-made header with our metadata, `tensors` and the checksum at `at`.
std::string Header(absl::string_view tensors, int at) {
  return absl::StrCat(
      R"({"__metadata__":{"format":"concord","version":"1"},)", tensors,
      R"("checksum":{"dtype":"U64","shape":[1],"data_offsets":[)", at, ",",
      at + 8, "]}}");
}

void ExpectDamaged(absl::string_view file, absl::string_view why) {
  const absl::Status status = ParseStatus(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << why;
  EXPECT_EQ(GetErrorReason(status), "CHECKPOINT_DAMAGED");
  EXPECT_EQ(ErrorMetadata(status, "file"), "the file");
  EXPECT_THAT(ErrorMetadata(status, "why"), HasSubstr(std::string(why)));
}

void ExpectForeign(absl::string_view file) {
  const absl::Status status = ParseStatus(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorReason(status), "STATE_FOREIGN") << status;
}

TEST(SafetensorsDamageTest, AFileCutAtAnyLengthIsTruncated) {
  const std::string file = SmallFile();
  ASSERT_LT(file.size(), 4096);
  for (size_t length = 0; length < file.size(); ++length) {
    ExpectDamaged(absl::string_view(file).substr(0, length), "truncated: ");
  }
  ExpectDamaged(file + "x", "1 bytes after the last tensor");
}

TEST(SafetensorsDamageTest, AFlippedBitAnywhereIsFound) {
  const std::string file = SmallFile();
  // Where that bit says whose file it is, and the header cannot be read any
  // more, the file is taken for somebody else's.
  const size_t header_begin = 8;
  const size_t mark_end = file.find("\"version\"");
  for (size_t at = 0; at < file.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = file;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const std::string reason = GetErrorReason(ParseStatus(flipped));
      if (at >= header_begin && at < mark_end) {
        EXPECT_THAT(reason, AnyOf("CHECKPOINT_DAMAGED", "STATE_FOREIGN"));
      } else {
        EXPECT_EQ(reason, "CHECKPOINT_DAMAGED") << "byte " << at;
      }
    }
  }
}

TEST(SafetensorsDamageTest, EachDamageHasItsName) {
  const std::string data(16, 'x');
  const auto tensor = [](absl::string_view name, int begin, int end) {
    return absl::StrCat("\"", name, R"(":{"dtype":"F32","shape":[)",
                        (end - begin) / 4, R"(],"data_offsets":[)", begin, ",",
                        end, "]},");
  };
  ASSERT_TRUE(
      ParseStatus(HandMadeFile(
                      Header(tensor("a", 0, 8) + tensor("b", 8, 16), 16), data))
          .ok());
  // In another order of the header it is the same file.
  ASSERT_TRUE(
      ParseStatus(HandMadeFile(
                      Header(tensor("b", 8, 16) + tensor("a", 0, 8), 16), data))
          .ok());
  ExpectDamaged(
      HandMadeFile(Header(tensor("a", 0, 12) + tensor("b", 8, 16), 16), data),
      "tensor b overlaps the one before it by 4 bytes");
  ExpectDamaged(
      HandMadeFile(Header(tensor("a", 0, 4) + tensor("b", 8, 16), 16), data),
      "a gap of 4 bytes before tensor b");
  ExpectDamaged(HandMadeFile(Header(tensor("a", 4, 16), 16), data),
                "a gap of 4 bytes before tensor a");
  ExpectDamaged(HandMadeFile(Header(tensor("a", 0, 20), 20), data),
                "truncated: 24 bytes of tensors instead of 28");
  ExpectDamaged(HandMadeFile(Header(tensor("a", 0, 12), 12), data),
                "4 bytes after the last tensor");
  ExpectDamaged(HandMadeFile(Header("\"a\":7,", 0), ""), "bad header: ");
  ExpectDamaged(
      HandMadeFile(absl::StrReplaceAll(Header(tensor("a", 0, 16), 16),
                                       {{"\"version\"", "\"other\""}}),
                   data),
      "bad header: no version");
  // The last tensor is not the checksum.
  ExpectDamaged(
      HandMadeFile(absl::StrReplaceAll(Header("", 0), {{"checksum", "digest"}}),
                   ""),
      "no checksum");
  std::string wrong = HandMadeFile(Header(tensor("a", 0, 16), 16), data);
  wrong.back() ^= 1;
  ExpectDamaged(wrong, "wrong checksum: ");
}

TEST(SafetensorsDamageTest, AnEndlessHeaderIsNotRead) {
  std::string file = SmallFile();
  file[7] = 1;  // 2^56 bytes and some.
  ExpectDamaged(file, "bad header: ");
}

TEST(SafetensorsDamageTest, AnotherProgramsFileIsForeign) {
  ExpectForeign(
      "\x7f"
      "ELF, or whatever else there may be in a directory");
  ExpectForeign(std::string(4096, '\0'));
  const std::string other =
      R"({"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  ExpectForeign(HandMadeFile(other, ""));
  ExpectForeign(HandMadeFile(
      R"({"weight":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}})", ""));
  ExpectForeign(HandMadeFile(
      absl::StrReplaceAll(Header("", 0), {{"\"concord\"", "\"pt\""}}), ""));
}

TEST(SafetensorsDamageTest, ALaterVersionIsToldSo) {
  const absl::Status status = ParseStatus(HandMadeFile(
      absl::StrReplaceAll(Header("", 0), {{"\"1\"", "\"2\""}}), ""));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorReason(status), "STATE_NEWER");
  EXPECT_THAT(ErrorMetadata(status, "why"), HasSubstr("version 2"));
}

}  // namespace
}  // namespace concord
