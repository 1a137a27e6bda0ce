// A step's gradients in several micro-batches, and what a worker makes of a
// connection that breaks between them.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/client/session_fixture.h"

namespace concord {
namespace {

using ::testing::SizeIs;

class AccumulationTest : public SessionTest {
 protected:
  absl::Status Accumulate(WorkerSession* worker) {
    const StepVector vectors[] = {{0, first_.data()}, {2, second_.data()}};
    return worker->Accumulate(vectors, step_);
  }

  // Of `count` micro-batches with these vectors.
  void ExpectTheSumOf(int count) const {
    for (size_t i = 0; i < kParameters; ++i) {
      ASSERT_EQ(update_[i], count * (first_[i] + 3 * second_[i])) << i;
    }
  }

  static grpc::Status Cut() {
    return ErrorStatus(grpc::StatusCode::UNAVAILABLE, "DRAINING");
  }
};

TEST_F(AccumulationTest, MicroBatchesComeInTurnAsOneAttempt) {
  for (const bool chunks : {false, true}) {
    SCOPED_TRACE(chunks ? "in chunks" : "in single messages");
    options_.chunk_bytes = chunks ? 999 : size_t{1} << 20;
    server_.set_committed_step(0);
    auto worker = Open();
    for (uint64_t step = 1; step <= 2; ++step) {
      const size_t before = server_.headers().size();
      ASSERT_TRUE(Accumulate(worker.get()).ok());
      ASSERT_TRUE(Accumulate(worker.get()).ok());
      const auto outcome = Step(worker.get());
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      EXPECT_EQ(outcome->attempts, 1);
      ExpectTheSumOf(3);
      const std::vector<v1::StepHeader> headers = server_.headers();
      ASSERT_THAT(headers, SizeIs(before + 3));
      for (uint32_t i = 0; i < 3; ++i) {
        const v1::StepHeader& header = headers[before + i];
        EXPECT_EQ(header.step(), step);
        EXPECT_EQ(header.attempt(), 1);
        EXPECT_EQ(header.accumulation().micro_batch(), i);
        EXPECT_EQ(header.accumulation().last(), i == 2);
        EXPECT_EQ(header.losses_size(), i == 2 ? 2 : 0);
      }
    }
    // A step without any is what it always was.
    ASSERT_TRUE(Step(worker.get()).ok());
    EXPECT_FALSE(server_.headers().back().has_accumulation());
    ExpectTheSum();
  }
}

TEST_F(AccumulationTest, TheMemoryIsTheCallersAgainAtOnce) {
  auto worker = Open();
  const std::vector<float> first = first_;
  ASSERT_TRUE(Accumulate(worker.get()).ok());
  first_.assign(kParameters, 0);
  const auto outcome = Step(worker.get());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  for (size_t i = 0; i < kParameters; ++i) {
    ASSERT_EQ(update_[i], first[i] + 6 * second_[i]) << i;
  }
}

TEST_F(AccumulationTest, ACutBetweenThemLosesAllAndTheStepMayBeginAgain) {
  auto worker = Open();
  server_.Say({Answer(), Answer::Refuse(Cut())});
  ASSERT_TRUE(Accumulate(worker.get()).ok());
  // The cut is seen by whoever comes next to the connection.
  absl::Status status = Accumulate(worker.get());
  if (status.ok()) status = Step(worker.get()).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  ASSERT_EQ(GetErrorReason(status), "ACCUMULATION_LOST") << status;
  EXPECT_EQ(worker->applied_step(), 0);

  ASSERT_TRUE(Accumulate(worker.get()).ok());
  const auto outcome = Step(worker.get());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->result.step(), 1);
  ExpectTheSumOf(2);
  EXPECT_EQ(server_.headers().back().attempt(), outcome->attempts);
}

TEST_F(AccumulationTest, ALostAnswerToAllOfThemIsAskedForAgain) {
  auto worker = Open();
  Answer cut;
  cut.trailer = false;
  server_.Say({Answer(), cut});
  ASSERT_TRUE(Accumulate(worker.get()).ok());
  const auto outcome = Step(worker.get());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->attempts, 2);
  ExpectTheSumOf(2);
  const v1::StepHeader last = server_.headers().back();
  EXPECT_EQ(last.step(), 1);
  EXPECT_EQ(last.vectors_size(), 0);
  EXPECT_FALSE(last.has_accumulation());
  ASSERT_TRUE(Step(worker.get()).ok());
  ExpectTheSum();
}

TEST_F(AccumulationTest, TheFirstOneJoinsAnewWhereTheConnectionIsGone) {
  options_.retry.max_attempts = 1;
  auto worker = Open();
  server_.Say({Answer::Refuse(Cut())});
  ASSERT_FALSE(Step(worker.get()).ok());
  ASSERT_TRUE(Accumulate(worker.get()).ok());
  ASSERT_TRUE(Step(worker.get()).ok());
  ExpectTheSumOf(2);
}

TEST_F(AccumulationTest, ARefusedOneIsReportedWithItsReason) {
  auto worker = Open();
  server_.Say(
      {Answer(), Answer::Refuse(ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT,
                                            "NON_FINITE"))});
  ASSERT_TRUE(Accumulate(worker.get()).ok());
  absl::Status status = Accumulate(worker.get());
  if (status.ok()) status = Step(worker.get()).status();
  EXPECT_EQ(GetErrorReason(status), "NON_FINITE") << status;
  ASSERT_TRUE(Step(worker.get()).ok());
  ExpectTheSum();
}

TEST_F(AccumulationTest, BadMemoryAndIndexesAreRefusedBeforeAnythingIsSent) {
  auto worker = Open();
  const StepVector no_memory[] = {{0, nullptr}};
  EXPECT_TRUE(absl::IsInvalidArgument(worker->Accumulate(no_memory, step_)));
  const StepVector no_loss[] = {{3, first_.data()}};
  EXPECT_EQ(GetErrorReason(worker->Accumulate(no_loss, step_)),
            "INDEX_OUT_OF_RANGE");
  EXPECT_THAT(server_.headers(), SizeIs(0));
}

}  // namespace
}  // namespace concord
