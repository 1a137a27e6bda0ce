// What a worker makes of a server that fails.
#include "client/cpp/session.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/client/session_fixture.h"

namespace concord {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST_F(SessionTest, AGoodStepTakesOneAttemptAndCounts) {
  auto worker = Open();
  for (uint64_t step = 1; step <= 3; ++step) {
    const auto outcome = Step(worker.get());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->attempts, 1);
    EXPECT_EQ(outcome->result.step(), step);
    EXPECT_EQ(worker->applied_step(), step);
    ExpectTheSum();
    first_[0] += 1;
  }
  ASSERT_THAT(server_.joins(), SizeIs(1));
  EXPECT_EQ(server_.joins()[0].incarnation(), worker->incarnation());
  EXPECT_NE(worker->incarnation(), 0);
  EXPECT_FALSE(server_.joins()[0].has_resume_step());
}

TEST_F(SessionTest, ASmallStepIsOneMessageAndItsReplyMayBe) {
  server_.set_single_reply(true);
  auto worker = Open();
  ASSERT_TRUE(Step(worker.get()).ok());
  ExpectTheSum();
  EXPECT_EQ(server_.chunks_received(), 1);
  EXPECT_EQ(server_.largest_chunk(), 2 * kParameters * sizeof(float));
}

struct Fault {
  const char* name;
  Answer answer;
};

std::vector<Fault> PassingFaults() {
  Answer after_result;
  after_result.update = 0;
  after_result.trailer = false;
  after_result.end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut");
  Answer in_update = after_result;
  in_update.update = .4;
  Answer no_trailer;
  no_trailer.trailer = false;
  Answer wrong_checksum;
  wrong_checksum.checksum_error = 4;
  Answer short_update;
  short_update.update = .9;
  using grpc::StatusCode;
  return {
      {"CutBeforeTheResult",
       Answer::Refuse(grpc::Status(StatusCode::INTERNAL, "RST_STREAM"))},
      {"CutAfterTheResult", after_result},
      {"CutInTheUpdate", in_update},
      {"EndedWithoutATrailer", no_trailer},
      {"WrongChecksum", wrong_checksum},
      {"TrailerAfterAPartOfTheUpdate", short_update},
      {"Unavailable",
       Answer::Refuse(ErrorStatus(StatusCode::UNAVAILABLE, "DRAINING"))},
      {"RoundFailed",
       Answer::Refuse(ErrorStatus(StatusCode::ABORTED, "ROUND_FAILED"))},
      {"RoundTimeout", Answer::Refuse(ErrorStatus(StatusCode::DEADLINE_EXCEEDED,
                                                  "ROUND_TIMEOUT"))},
      {"SendTimeout", Answer::Refuse(ErrorStatus(StatusCode::DEADLINE_EXCEEDED,
                                                 "SEND_TIMEOUT"))},
  };
}

TEST_F(SessionTest, EveryPassingFaultIsRetriedOnANewStreamWithTheSameBytes) {
  for (const bool chunks : {false, true}) {
    for (const Fault& fault : PassingFaults()) {
      SCOPED_TRACE(absl::StrCat(fault.name, chunks ? ", in chunks" : ""));
      options_.chunk_bytes = chunks ? 999 : size_t{1} << 20;
      server_.set_committed_step(0);
      auto worker = Open();
      const size_t joins = server_.joins().size();
      ASSERT_TRUE(Step(worker.get()).ok());
      const std::vector<float> good = update_;

      server_.Say({fault.answer, fault.answer});
      update_.assign(kParameters, -1);
      const auto outcome = Step(worker.get());
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      EXPECT_EQ(outcome->attempts, 3);
      EXPECT_EQ(worker->applied_step(), 2);
      EXPECT_EQ(update_, good);

      const std::vector<v1::Join> all = server_.joins();
      ASSERT_THAT(all, SizeIs(joins + 2));
      EXPECT_EQ(all.back().incarnation(), worker->incarnation());
      EXPECT_EQ(all.back().uid(), "uid-1");
      EXPECT_EQ(all.back().epoch(), 1);
      EXPECT_EQ(all.back().resume_step(), 1);
      const std::vector<v1::StepHeader> headers = server_.headers();
      const v1::StepHeader& last = headers.back();
      EXPECT_EQ(last.step(), 2);
      EXPECT_EQ(last.attempt(), 3);
      EXPECT_EQ(headers[headers.size() - 2].attempt(), 2);
    }
  }
}

TEST_F(SessionTest, NotFoundIsFinalForEveryLaterStepToo) {
  auto worker = Open();
  server_.Say({Answer::Refuse(
      ErrorStatus(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"))});
  const auto outcome = Step(worker.get());
  EXPECT_TRUE(absl::IsNotFound(outcome.status()));
  EXPECT_EQ(GetErrorReason(outcome.status()), "SESSION_NOT_FOUND");
  EXPECT_TRUE(absl::IsNotFound(Step(worker.get()).status()));
  EXPECT_THAT(server_.headers(), SizeIs(1));
  EXPECT_THAT(server_.joins(), SizeIs(1));
}

TEST_F(SessionTest, SupersededByAnotherProcessIsFinal) {
  auto worker = Open();
  server_.Say({Answer::Refuse(ErrorStatus(
      grpc::StatusCode::ABORTED, "SUPERSEDED", {{"incarnation", "17"}}))});
  EXPECT_EQ(GetErrorReason(Step(worker.get()).status()), "SUPERSEDED");
  EXPECT_EQ(GetErrorReason(Step(worker.get()).status()), "SUPERSEDED");
  EXPECT_THAT(server_.joins(), SizeIs(1));
}

TEST_F(SessionTest, SupersededByAnOlderStreamOfOurOwnIsRetried) {
  auto worker = Open();
  server_.Say({Answer::Refuse(
      ErrorStatus(grpc::StatusCode::ABORTED, "SUPERSEDED",
                  {{"incarnation", absl::StrCat(worker->incarnation())}}))});
  EXPECT_TRUE(Step(worker.get()).ok());
  EXPECT_THAT(server_.joins(), SizeIs(2));
}

TEST_F(SessionTest, AStaleStepIsToldWithTheCommittedOne) {
  auto worker = Open();
  server_.Say(
      {Answer::Refuse(ErrorStatus(grpc::StatusCode::FAILED_PRECONDITION,
                                  "STEP_STALE", {{"committed_step", "12"}}))});
  const auto outcome = Step(worker.get());
  const auto detail = GetErrorDetail(outcome.status());
  ASSERT_TRUE(detail.has_value()) << outcome.status();
  EXPECT_EQ(detail->reason, "STEP_STALE");
  EXPECT_THAT(detail->metadata,
              ::testing::ElementsAre(::testing::Pair("committed_step", "12")));
  EXPECT_THAT(server_.headers(), SizeIs(1));
}

TEST_F(SessionTest, ARefusedStepMayBeMendedAndKeepsItsNumber) {
  auto worker = Open();
  server_.Say({Answer::Refuse(
      ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT, "NON_FINITE"))});
  EXPECT_EQ(GetErrorReason(Step(worker.get()).status()), "NON_FINITE");
  EXPECT_EQ(worker->applied_step(), 0);
  const auto outcome = Step(worker.get());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->result.step(), 1);
  EXPECT_EQ(outcome->attempts, 2);
}

TEST_F(SessionTest, TheTimeoutHoldsForAllTriesTogetherAndNamesTheLastError) {
  auto worker = Open();
  Answer hang = Answer::Refuse(grpc::Status::OK);
  hang.hang = true;
  server_.Say({Answer::Refuse(
                   grpc::Status(grpc::StatusCode::UNAVAILABLE, "out to lunch")),
               hang});
  step_.timeout = absl::Milliseconds(300);
  const absl::Time start = absl::Now();
  const auto outcome = Step(worker.get());
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  EXPECT_TRUE(absl::IsDeadlineExceeded(outcome.status())) << outcome.status();
  EXPECT_THAT(std::string(outcome.status().message()),
              HasSubstr("out to lunch"));

  step_.timeout = absl::Seconds(30);
  ASSERT_TRUE(Step(worker.get()).ok());
  ExpectTheSum();
}

TEST_F(SessionTest, ACallerMayGiveUpWhileItWaits) {
  auto worker = Open();
  Answer hang = Answer::Refuse(grpc::Status::OK);
  hang.hang = true;
  server_.Say({hang});
  int asked = 0;
  step_.is_cancelled = [&] { return ++asked == 2; };
  EXPECT_TRUE(absl::IsCancelled(Step(worker.get()).status()));
  EXPECT_EQ(asked, 2);
}

TEST_F(SessionTest, NoMoreTriesThanAllowed) {
  options_.retry.max_attempts = 2;
  auto worker = Open();
  const Answer refuse =
      Answer::Refuse(grpc::Status(grpc::StatusCode::UNAVAILABLE, "no"));
  server_.Say({refuse, refuse, refuse});
  EXPECT_TRUE(absl::IsUnavailable(Step(worker.get()).status()));
  EXPECT_THAT(server_.headers(), SizeIs(2));
}

TEST_F(SessionTest, ALimitOfTheServerPassesOnlyForWhoWasThereBefore) {
  const grpc::Status limit =
      ErrorStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED");
  auto worker = Open();
  server_.Say(
      {Answer::Refuse(grpc::Status(grpc::StatusCode::UNAVAILABLE, ""))});
  server_.RefuseJoins({limit, limit});
  EXPECT_TRUE(Step(worker.get()).ok());
  EXPECT_THAT(server_.joins(), SizeIs(4));

  server_.RefuseJoins({limit});
  auto client = Client::Connect(server_.address(), options_);
  WorkerOptions other;
  other.session = "sessions/job";
  EXPECT_EQ(GetErrorReason((*client)->OpenWorker(other).status()),
            "LIMIT_EXCEEDED");
}

TEST_F(SessionTest, AResumedWorkerGoesOnBehindItsCheckpoint) {
  server_.set_committed_step(7);
  WorkerOptions options;
  options.resume_step = 6;
  options.incarnation = 99;
  options.uid = "uid-1";
  options.epoch = 1;
  auto worker = Open(options);
  EXPECT_EQ(worker->applied_step(), 6);
  EXPECT_EQ(server_.joins()[0].resume_step(), 6);
  EXPECT_EQ(server_.joins()[0].incarnation(), 99);
  EXPECT_EQ(server_.joins()[0].uid(), "uid-1");
  ASSERT_TRUE(Step(worker.get()).ok());
  EXPECT_EQ(server_.headers()[0].step(), 7);
}

TEST_F(SessionTest, ARefusedJoinIsReportedAndAPassingOneRetried) {
  server_.RefuseJoins(
      {grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting"),
       grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting")});
  EXPECT_NE(Open(), nullptr);
  EXPECT_THAT(server_.joins(), SizeIs(3));

  server_.RefuseJoins({ErrorStatus(grpc::StatusCode::FAILED_PRECONDITION,
                                   "SESSION_IN_PROGRESS")});
  auto client = Client::Connect(server_.address(), options_);
  WorkerOptions worker;
  worker.session = "sessions/job";
  EXPECT_EQ(GetErrorReason((*client)->OpenWorker(worker).status()),
            "SESSION_IN_PROGRESS");
}

TEST_F(SessionTest, BadMemoryAndIndicesAreRefusedBeforeAnythingIsSent) {
  auto worker = Open();
  const auto refused = [&](const StepVector& vector, void* update) {
    return worker->Step({vector}, {}, update, step_).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(refused({0, first_.data()}, nullptr)));
  EXPECT_TRUE(absl::IsInvalidArgument(refused({0, nullptr}, update_.data())));
  EXPECT_TRUE(
      absl::IsInvalidArgument(refused({0, update_.data()}, update_.data())));
  EXPECT_TRUE(absl::IsInvalidArgument(
      refused({0, update_.data() + 1}, update_.data())));
  for (const int index : {-1, 3}) {
    EXPECT_EQ(GetErrorReason(refused({index, first_.data()}, update_.data())),
              "INDEX_OUT_OF_RANGE");
  }
  EXPECT_THAT(server_.headers(), SizeIs(0));
  EXPECT_TRUE(Step(worker.get()).ok());
}

TEST_F(SessionTest, AForkedChildIsRefusedAndDisturbsNothing) {
  auto worker = Open();
  ASSERT_TRUE(Step(worker.get()).ok());
  const pid_t child = fork();
  if (child == 0) {
    const bool refused =
        absl::IsFailedPrecondition(Step(worker.get()).status());
    worker.reset();
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Step(worker.get()).ok());
  EXPECT_THAT(server_.joins(), SizeIs(1));
}

}  // namespace
}  // namespace concord
