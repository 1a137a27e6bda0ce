#include "server/session/ingest.h"

#include "gtest/gtest.h"
#include "operators/errors.h"

namespace concord {
namespace {

TEST(ChunkCursor, FollowsVectorsInTheirOrder) {
  ChunkCursor cursor(2, 10, 8);
  EXPECT_FALSE(cursor.complete());
  ASSERT_TRUE(cursor.Check({0, 0, 8}).ok());
  EXPECT_FALSE(cursor.Advance(8));
  EXPECT_EQ(cursor.room(), 2);
  EXPECT_EQ(GetErrorReason(cursor.Check({0, 8, 3})), "CHUNK_TOO_LARGE");
  EXPECT_TRUE(cursor.Check({0, 8, 0}).ok());
  ASSERT_TRUE(cursor.Check({0, 8, 2}).ok());
  EXPECT_TRUE(cursor.Advance(2));
  EXPECT_EQ(GetErrorReason(cursor.Check({0, 0, 1})), "CHUNK_MISPLACED");
  EXPECT_EQ(GetErrorReason(cursor.Check({1, 0, 9})), "CHUNK_TOO_LARGE");
  ASSERT_TRUE(cursor.Check({1, 0, 8}).ok());
  cursor.Advance(8);
  EXPECT_TRUE(cursor.Advance(2));
  EXPECT_TRUE(cursor.complete());
  EXPECT_EQ(GetErrorReason(cursor.Check({2, 0, 1})), "CHUNK_MISPLACED");
}

TEST(ChunkCursor, NoVectorsAreCompleteAtOnce) {
  EXPECT_TRUE(ChunkCursor().complete());
  EXPECT_TRUE(ChunkCursor(0, 10, 8).complete());
}

}  // namespace
}  // namespace concord
