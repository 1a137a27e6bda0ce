#include "server/rpc/status.h"

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

TEST(ToGrpc, CarriesReasonFieldAndValue) {
  const WireError error = ReadError(ToGrpc(
      InvalidField("LENGTH_MISMATCH", "header.vectors[0].length", "9", "10")));
  EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error.reason, "LENGTH_MISMATCH");
  EXPECT_EQ(error.field, "header.vectors[0].length");
  EXPECT_EQ(error.value, "9");
  EXPECT_EQ(error.metadata.at("accepted"), "10");
}

TEST(ToGrpc, StaysWithinItsBytesWhateverTheTexts) {
  std::string long_text;  // Two bytes a letter: no cut may split one.
  for (int i = 0; i < 5000; ++i) long_text += "ü";
  ErrorDetail detail{
      "INVALID_OPTION", "f" + long_text, long_text, long_text, {}};
  for (int i = 0; i < 100; ++i) {
    detail.metadata.emplace_back("key" + std::to_string(i), long_text);
  }
  const grpc::Status status =
      ToGrpc(MakeError(absl::StatusCode::kInvalidArgument, detail));
  EXPECT_LE(status.error_details().size(), kMaxDetailBytes);
  EXPECT_LE(status.error_message().size(), 1024);
  EXPECT_EQ(ReadError(status).reason, "INVALID_OPTION");
}

TEST(ToGrpc, ADelayIsRetryInfo) {
  ErrorDetail detail{"LIMIT_EXCEEDED", "", "", "", {{kRetryDelay, "1.25s"}}};
  const WireError error = ReadError(
      ToGrpc(MakeError(absl::StatusCode::kResourceExhausted, detail)));
  EXPECT_EQ(error.retry_delay, absl::Milliseconds(1250));
  EXPECT_EQ(error.metadata.at(kRetryDelay), "1.25s");
  detail.metadata[0].second = "soon";
  EXPECT_EQ(
      ReadError(ToGrpc(MakeError(absl::StatusCode::kResourceExhausted, detail)))
          .retry_delay,
      absl::ZeroDuration());
}

TEST(ToGrpc, AnOrdinaryErrorHasNoDetails) {
  const grpc::Status status = ToGrpc(absl::InternalError("oops"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), "oops");
  EXPECT_TRUE(status.error_details().empty());
}

}  // namespace
}  // namespace concord
