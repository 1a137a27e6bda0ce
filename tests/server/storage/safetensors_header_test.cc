#include "server/storage/safetensors_header.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"

namespace concord {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::string WhyNot(absl::string_view text) {
  const absl::StatusOr<SafetensorsHeader> header = ParseHeader(text);
  return header.ok() ? "" : std::string(header.status().message());
}

std::string Tensor(absl::string_view fields) {
  return absl::StrCat(R"({"a":{)", fields, "}}");
}

TEST(SafetensorsHeaderTest, WhatIsFormattedIsParsed) {
  const TensorMetadata metadata = {{"format", "concord"},
                                   {"options", "{\"a\":\n\"ü\"}"}};
  const std::string header =
      FormatHeader(metadata, {{"a \"quoted\" name", TensorType::kF32, {2, 3}},
                              {"scalar", TensorType::kI64, {}},
                              {"nothing", TensorType::kF64, {7, 0}}})
          .value();
  const SafetensorsHeader parsed =
      ParseHeader(absl::string_view(header).substr(8)).value();
  EXPECT_EQ(parsed.metadata, metadata);
  ASSERT_EQ(parsed.tensors.size(), 3);
  EXPECT_EQ(parsed.tensors[0].spec.name, "a \"quoted\" name");
  EXPECT_THAT(parsed.tensors[0].spec.shape, ElementsAre(2, 3));
  EXPECT_EQ(parsed.tensors[0].end, 24);
  EXPECT_EQ(parsed.tensors[1].begin, 24);
  EXPECT_EQ(parsed.tensors[1].end, 32);
  EXPECT_EQ(parsed.tensors[2].begin, 32);
  EXPECT_EQ(parsed.tensors[2].end, 32);
}

TEST(SafetensorsHeaderTest, NothingAtAllIsAHeader) {
  EXPECT_EQ(WhyNot("{}"), "");
  EXPECT_EQ(WhyNot("  {\"__metadata__\": {}}  "), "");
}

TEST(SafetensorsHeaderTest, WhatIsNoHeaderIsRefused) {
  for (const absl::string_view text :
       {"", "{", "7", "\"text\"", "[]", "null", "{} {}", "{\"a\":[]}",
        "{\"a\":null}", "{\"a\":true}", "{\"__metadata__\":\"x\"}",
        "{\"__metadata__\":{\"a\":1}}", "{\"__metadata__\":{\"a\":{}}}",
        "{\"a\":\"\xff\"}"}) {
    EXPECT_NE(WhyNot(text), "") << text;
  }
  EXPECT_EQ(WhyNot(R"({"__metadata__":{"a":"1","a":"2"}})"),
            "metadata given twice: a");
  const std::string nested(1'000'000, '[');
  EXPECT_NE(WhyNot(absl::StrCat("{\"a\":{\"shape\":", nested)), "");
}

TEST(SafetensorsHeaderTest, ATensorNeedsItsThreeFieldsAndTheyAgree) {
  const std::string type = R"("dtype":"F32")";
  const std::string shape = R"("shape":[2])";
  const std::string offsets = R"("data_offsets":[0,8])";
  ASSERT_EQ(WhyNot(Tensor(absl::StrCat(offsets, ",", shape, ",", type))), "");
  for (const std::string& fields :
       {std::string(), type, absl::StrCat(type, ",", shape),
        absl::StrCat(type, ",", offsets), absl::StrCat(shape, ",", offsets)}) {
    EXPECT_EQ(WhyNot(Tensor(fields)),
              "tensor a lacks dtype, shape or data_offsets");
  }
  const auto with = [&](absl::string_view other_shape,
                        absl::string_view other_offsets) {
    return WhyNot(Tensor(absl::StrCat(type, ",\"shape\":", other_shape,
                                      ",\"data_offsets\":", other_offsets)));
  };
  ASSERT_EQ(with("[2]", "[0,8]"), "");
  EXPECT_NE(with("[3]", "[0,8]"), "");
  EXPECT_NE(with("[2]", "[8,0]"), "");
  EXPECT_NE(with("[2]", "[0]"), "");
  EXPECT_NE(with("[2]", "[0,8,8]"), "");
  EXPECT_NE(with("[-2]", "[0,8]"), "");
  EXPECT_NE(with("[2.0]", "[0,8]"), "");
  // 2^64 elements and two would be counted as 8 bytes.
  EXPECT_NE(with("[4294967296,4294967296]", "[0,0]"), "");
  EXPECT_NE(with("[9223372036854775809,2]", "[0,8]"), "");
  EXPECT_NE(with("[99999999999999999999]", "[0,8]"), "");
  EXPECT_NE(with("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]"), "");
  EXPECT_EQ(WhyNot(Tensor(absl::StrCat(type, ",", type))),
            "tensor a has a wrong field dtype");
  EXPECT_EQ(WhyNot(Tensor(R"("dtype":"Q7")")),
            "tensor a has an unknown dtype Q7");
}

TEST(SafetensorsHeaderTest, ANameGivenTwiceIsRefused) {
  const std::string tensor =
      R"("a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(WhyNot(absl::StrCat("{", tensor, ",", tensor, "}")),
            "given twice: a");
}

TEST(SafetensorsHeaderTest, AHeaderThatNobodyWouldReadIsNotWritten) {
  const absl::Status status =
      FormatHeader({{"long", std::string(kMaxHeaderBytes, 'x')}}, {}).status();
  EXPECT_EQ(GetErrorReason(status), "LIMIT_EXCEEDED");
  EXPECT_EQ(GetErrorReason(
                FormatHeader({}, {{"a", TensorType::kF64, {1ull << 61, 1}}})
                    .status()),
            "LIMIT_EXCEEDED");
}

}  // namespace
}  // namespace concord
