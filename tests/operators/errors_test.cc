#include "operators/errors.h"

#include "gtest/gtest.h"

namespace concord {
namespace {

TEST(Errors, ADetailComesBackAsItWentIn) {
  const ErrorDetail detail{"STEP_STALE",
                           "header.step",
                           "7\nnot 8",
                           "12 or \\13",
                           {{"a", "1"}, {"b", ""}}};
  const absl::Status status =
      MakeError(absl::StatusCode::kFailedPrecondition, detail, "Ask again.");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorDetail(status), detail);
  EXPECT_EQ(GetErrorReason(status), "STEP_STALE");
}

TEST(Errors, TheMessageNamesFieldValueAndWhatIsAccepted) {
  EXPECT_EQ(InvalidField("INVALID_OPTION", "beta_1", "1.5", "[0, 1)").message(),
            "INVALID_OPTION: beta_1 = 1.5; accepted: [0, 1)");
}

TEST(Errors, AStatusOfSomebodyElseHasNoDetail) {
  EXPECT_FALSE(GetErrorDetail(absl::InternalError("x")).has_value());
  EXPECT_EQ(GetErrorReason(absl::OkStatus()), "");
}

}  // namespace
}  // namespace concord
