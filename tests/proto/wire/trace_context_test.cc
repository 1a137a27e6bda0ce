#include "proto/wire/trace_context.h"

#include "gtest/gtest.h"

namespace concord {
namespace {

constexpr char kSampled[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, TheStandardsExampleIsRead) {
  const TraceContext context = ParseTraceparent(kSampled);
  EXPECT_TRUE(context.is_set());
  EXPECT_EQ(context.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context.span_id, "00f067aa0ba902b7");
  EXPECT_TRUE(context.sampled);
}

TEST(TraceContext, OtherFlagsThanSampledAreNot) {
  for (const char* flags : {"00", "02", "fe"}) {
    const TraceContext context = ParseTraceparent(
        std::string("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-") +
        flags);
    EXPECT_TRUE(context.is_set()) << flags;
    EXPECT_FALSE(context.sampled) << flags;
  }
}

TEST(TraceContext, OfALaterVersionWhatIsKnownIsRead) {
  EXPECT_TRUE(
      ParseTraceparent(
          "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
          .sampled);
}

TEST(TraceContext, WhatIsMalformedIsNone) {
  for (const char* text : {
           "",
           "00",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
           "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
       }) {
    EXPECT_FALSE(ParseTraceparent(text).is_set()) << text;
  }
}

}  // namespace
}  // namespace concord
