// A worker that goes for good.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/client/session_fixture.h"

namespace concord {
namespace {

using LeaveTest = SessionTest;

TEST_F(LeaveTest, IsToldToTheServerAndEndsTheWorker) {
  auto worker = Open();
  ASSERT_TRUE(Step(worker.get()).ok());
  const absl::Status left = worker->Leave();
  ASSERT_TRUE(left.ok()) << left;
  EXPECT_EQ(server_.leaves(), 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(Step(worker.get()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(worker->Leave()));
  EXPECT_EQ(server_.leaves(), 1);
}

TEST_F(LeaveTest, WithoutAConnectionJoinsToSayIt) {
  options_.retry.max_attempts = 1;
  auto worker = Open();
  server_.Say(
      {Answer::Refuse(ErrorStatus(grpc::StatusCode::UNAVAILABLE, "DRAINING"))});
  ASSERT_FALSE(Step(worker.get()).ok());
  ASSERT_TRUE(worker->Leave().ok());
  EXPECT_EQ(server_.leaves(), 1);
}

TEST_F(LeaveTest, AWorkerThatIsMerelyDestroyedIsExpectedBack) {
  auto worker = Open();
  ASSERT_TRUE(Step(worker.get()).ok());
  worker.reset();
  EXPECT_EQ(server_.leaves(), 0);
}

}  // namespace
}  // namespace concord
