// Rounds that go on without some of their ranks: who is waited for and how
// long, what those who come late get, and what leaving does.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

v1::Session Quorum(size_t n, uint32_t min_workers) {
  v1::Session options = Harness::Options(n);
  options.set_min_workers(min_workers);
  options.mutable_straggler_timeout()->set_seconds(2);
  return options;
}

std::vector<uint32_t> RanksOf(const Answer& answer) {
  std::vector<uint32_t> ranks;
  for (const v1::Contributor& contributor : answer.result.contributors()) {
    ranks.push_back(contributor.rank());
  }
  return ranks;
}

std::vector<uint32_t> Missing(const Answer& answer) {
  return {answer.result.missing_ranks().begin(),
          answer.result.missing_ranks().end()};
}

std::vector<uint32_t> Absent(Harness& harness) {
  const v1::Session session = (*harness.registry.Get("sessions/s"))->Describe();
  return {session.absent_ranks().begin(), session.absent_ranks().end()};
}

using Ranks = std::vector<uint32_t>;

// The update of a step of these losses alone, as one rank of another session
// brings them.
class Twin {
 public:
  Twin(Harness* harness, size_t n)
      : n_(n),
        worker_(harness->Join(harness->Create("twin", Harness::Options(n, 1)),
                              0)) {}
  Vector Step(uint64_t step, const Ranks& losses) {
    const absl::StatusOr<Answer> answer =
        worker_->Step(step, Gradients(n_, step, losses));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->update : Vector();
  }

 private:
  const size_t n_;
  const std::unique_ptr<Worker> worker_;
};

// Sends its loss's gradient; the answer is not waited for.
void SendOwn(Worker* worker, uint64_t step, uint32_t rank) {
  const Vectors own =
      Gradients(worker->stream().joined().num_parameters(), step, {rank});
  const absl::Status sent = worker->Send(worker->Header(step, own), own);
  ASSERT_TRUE(sent.ok()) << sent;
}

// The first half of its loss's gradient.
void SendHalf(Worker* worker, uint64_t step, uint32_t rank) {
  const Vectors own =
      Gradients(worker->stream().joined().num_parameters(), step, {rank});
  const absl::Status begun = worker->stream().Begin(worker->Header(step, own));
  ASSERT_TRUE(begun.ok()) << begun;
  const absl::Span<const std::byte> bytes = absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(own.at(rank).data()),
      own.at(rank).size() * 2);
  const absl::Span<const std::byte> pieces[] = {bytes};
  const absl::Status sent =
      worker->stream().Append({0, 0, bytes.size()}, pieces);
  ASSERT_TRUE(sent.ok()) << sent;
}

// The second half, of whatever; the caller's to finish.
absl::Status SendRest(Worker* worker) {
  const size_t half = worker->stream().joined().num_parameters() * 2;
  const std::vector<std::byte> bytes(half);
  const absl::Span<const std::byte> pieces[] = {bytes};
  return worker->stream().Append({0, half, half}, pieces);
}

// All ranks in `ranks` take the step; their common answer.
Answer StepOf(std::vector<std::unique_ptr<Worker>>* workers, uint64_t step,
              const Ranks& ranks) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  for (const uint32_t rank : ranks) {
    SendOwn((*workers)[rank].get(), step, rank);
    if (rank != ranks.back()) {
      waiting.push_back(std::make_unique<Waiting>((*workers)[rank].get()));
    }
  }
  absl::StatusOr<Answer> answer = (*workers)[ranks.back()]->Finish();
  EXPECT_TRUE(answer.ok()) << answer.status();
  for (const auto& other : waiting) {
    const absl::StatusOr<Answer> same = other->Get();
    EXPECT_TRUE(same.ok()) << same.status();
    if (same.ok() && answer.ok()) {
      EXPECT_EQ(same->update, answer->update);
    }
  }
  return answer.ok() ? *std::move(answer) : Answer();
}

TEST(Quorum, TheRoundGoesOnAStragglerTimeoutAfterTheQuorum) {
  for (const size_t n : {kSmall, kLarge}) {
    for (uint32_t straggler = 0; straggler < kLosses; ++straggler) {
      Harness harness;
      auto workers = harness.JoinAll(harness.Create("s", Quorum(n, 2)));
      Twin twin(&harness, n);
      EXPECT_EQ(StepOf(&workers, 1, {0, 1, 2}).update, twin.Step(1, {0, 1, 2}));
      EXPECT_EQ(Absent(harness), Ranks());

      Ranks others = {0, 1, 2};
      others.erase(others.begin() + straggler);
      SendOwn(workers[others[0]].get(), 2, others[0]);
      Waiting first(workers[others[0]].get());
      // Long before the quorum: that time does not count.
      harness.clock.Advance(absl::Seconds(5));
      SendOwn(workers[others[1]].get(), 2, others[1]);
      Waiting second(workers[others[1]].get());
      harness.clock.Advance(absl::Milliseconds(1999));
      EXPECT_EQ(
          (*harness.registry.Get("sessions/s"))->Describe().committed_step(),
          1u);
      harness.clock.Advance(absl::Milliseconds(1));
      const absl::StatusOr<Answer> answer = first.Get();
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(second.Get()->update, answer->update);
      EXPECT_EQ(answer->update, twin.Step(2, others));
      EXPECT_EQ(RanksOf(*answer), others);
      EXPECT_EQ(Missing(*answer), Ranks{straggler});
      EXPECT_FALSE(answer->result.dropped());
      EXPECT_EQ(Absent(harness), Ranks{straggler});

      // Who comes late gets that update, flagged.
      const absl::StatusOr<Answer> late =
          workers[straggler]->Step(2, Gradients(n, 2, {straggler}));
      ASSERT_TRUE(late.ok()) << late.status();
      EXPECT_EQ(late->update, answer->update);
      EXPECT_EQ(late->trailer.checksum(), answer->trailer.checksum());
      EXPECT_TRUE(late->result.dropped());
      EXPECT_EQ(Missing(*late), Ranks{straggler});
      EXPECT_EQ(Absent(harness), Ranks{straggler});

      // It is not waited for, unless it is there before the round ends.
      const Answer third = StepOf(&workers, 3, others);
      EXPECT_EQ(third.update, twin.Step(3, others));
      EXPECT_EQ(Missing(third), Ranks{straggler});
      ASSERT_TRUE(workers[straggler]->Step(3, {}).ok());
      const Answer fourth =
          StepOf(&workers, 4, {straggler, others[0], others[1]});
      EXPECT_EQ(fourth.update, twin.Step(4, {0, 1, 2}));
      EXPECT_EQ(Missing(fourth), Ranks());
      EXPECT_EQ(Absent(harness), Ranks());
    }
  }
}

TEST(Quorum, WhoIsCaughtSendingIsReadToTheEndAndDropped) {
  for (const size_t n : {kSmall, kLarge}) {
    for (uint32_t straggler = 0; straggler < kLosses; ++straggler) {
      Harness harness;
      auto workers = harness.JoinAll(harness.Create("s", Quorum(n, 2)));
      Twin twin(&harness, n);
      Ranks others = {0, 1, 2};
      others.erase(others.begin() + straggler);
      StepOf(&workers, 1, {0, 1, 2});
      twin.Step(1, {0, 1, 2});
      SendHalf(workers[straggler].get(), 2, straggler);
      SendOwn(workers[others[0]].get(), 2, others[0]);
      Waiting first(workers[others[0]].get());
      SendOwn(workers[others[1]].get(), 2, others[1]);
      Waiting second(workers[others[1]].get());
      harness.clock.Advance(absl::Seconds(2));
      const absl::StatusOr<Answer> answer = first.Get();
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(second.Get()->update, answer->update);
      EXPECT_EQ(answer->update, twin.Step(2, others));
      EXPECT_EQ(Absent(harness), Ranks{straggler});

      ASSERT_TRUE(SendRest(workers[straggler].get()).ok());
      const absl::StatusOr<Answer> late = workers[straggler]->Finish();
      ASSERT_TRUE(late.ok()) << late.status();
      EXPECT_TRUE(late->result.dropped());
      EXPECT_EQ(late->update, answer->update);
      EXPECT_EQ(StepOf(&workers, 3, {straggler, others[0], others[1]}).update,
                twin.Step(3, {0, 1, 2}));
      EXPECT_EQ(Absent(harness), Ranks());
    }
  }
}

TEST(Quorum, ARoundEndsAtOnceWhenAllRanksAreThere) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 1)));
  const Answer answer = StepOf(&workers, 1, {2, 0, 1});
  EXPECT_EQ(RanksOf(answer), (Ranks{0, 1, 2}));
  EXPECT_EQ(Missing(answer), Ranks());
}

TEST(Quorum, ARetryByAContributorIsRepeatedAndNotDropped) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  SendOwn(workers[0].get(), 1, 0);
  Waiting first(workers[0].get());
  SendOwn(workers[1].get(), 1, 1);
  Waiting second(workers[1].get());
  harness.clock.Advance(absl::Seconds(2));
  const absl::StatusOr<Answer> answer = first.Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->result.repeated());
  ASSERT_TRUE(second.Get().ok());
  const absl::StatusOr<Answer> again = workers[0]->Step(1, {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->result.repeated());
  EXPECT_FALSE(again->result.dropped());
  EXPECT_EQ(again->update, answer->update);
  EXPECT_EQ(Missing(*again), Ranks{2});
}

TEST(Quorum, WithoutItTheRoundFailsAtItsDeadlineAsEver) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  SendOwn(workers[1].get(), 1, 1);
  Waiting waiting(workers[1].get());
  harness.clock.Advance(absl::Seconds(10));
  const absl::Status status = waiting.Get().status();
  EXPECT_EQ(Reason(status), "ROUND_TIMEOUT");
  EXPECT_EQ(Metadata(status, "missing_ranks"), "0,2");
  EXPECT_EQ(Absent(harness), Ranks());
}

TEST(Quorum, TheRoundGoesOnAtItsDeadlineWhenTheQuorumIsThere) {
  Harness harness;
  v1::Session options = Quorum(kSmall, 2);
  options.mutable_straggler_timeout()->set_seconds(3600);
  auto workers = harness.JoinAll(harness.Create("s", options));
  Twin twin(&harness, kSmall);
  SendOwn(workers[1].get(), 1, 1);
  Waiting first(workers[1].get());
  SendOwn(workers[2].get(), 1, 2);
  Waiting second(workers[2].get());
  harness.clock.Advance(absl::Seconds(10));
  const absl::StatusOr<Answer> answer = first.Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Missing(*answer), Ranks{0});
  EXPECT_EQ(answer->update, twin.Step(1, {1, 2}));
  EXPECT_TRUE(second.Get().ok());
}

TEST(Quorum, TheReaperSolvesARoundWhoseRanksAreGone) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  Twin twin(&harness, kSmall);
  for (const uint32_t rank : {0u, 1u}) {
    SendOwn(workers[rank].get(), 1, rank);
    Waiting waiting(workers[rank].get());
    waiting.Cancel();
    EXPECT_EQ(waiting.Get().status().code(), absl::StatusCode::kCancelled);
    workers[rank] = nullptr;
  }
  harness.clock.Advance(absl::Seconds(2));
  EXPECT_TRUE(harness.registry.ReapIdle().empty());
  EXPECT_EQ((*harness.registry.Get("sessions/s"))->Describe().committed_step(),
            1u);
  // A contributor comes back for it, and is none that was dropped.
  workers[0] = harness.Join("sessions/s", 0);
  const absl::StatusOr<Answer> answer = workers[0]->Step(1, {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->result.dropped());
  EXPECT_EQ(answer->update, twin.Step(1, {0, 1}));
}

TEST(Quorum, AQuorumWithoutVectorsIsRefusedAndKeepsTheStepsNumber) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 1)));
  Twin twin(&harness, kSmall);
  SendHalf(workers[2].get(), 1, 2);
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, {}), {}).ok());
  Waiting waiting(workers[0].get());
  harness.clock.Advance(absl::Seconds(2));
  EXPECT_EQ(Reason(waiting.Get().status()), "EMPTY_ROUND");
  ASSERT_TRUE(SendRest(workers[2].get()).ok());
  EXPECT_EQ(Reason(workers[2]->Finish().status()), "EMPTY_ROUND");
  workers.clear();
  workers = harness.JoinAll("sessions/s");
  EXPECT_EQ(StepOf(&workers, 1, {0, 1, 2}).update, twin.Step(1, {0, 1, 2}));
}

TEST(Quorum, MinWorkersAndStragglerTimeoutChangeFromTheNextRoundOn) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 0)));
  SendOwn(workers[0].get(), 1, 0);
  Waiting first(workers[0].get());
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name("sessions/s");
  request.mutable_session()->set_min_workers(1);
  request.mutable_session()->mutable_straggler_timeout()->set_seconds(1);
  request.mutable_update_mask()->add_paths("min_workers");
  request.mutable_update_mask()->add_paths("straggler_timeout");
  const absl::StatusOr<v1::Session> changed = harness.registry.Update(request);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->min_workers(), 1u);
  EXPECT_EQ(changed->straggler_timeout().seconds(), 1);
  // The open round still needs all.
  harness.clock.Advance(absl::Seconds(9));
  SendOwn(workers[1].get(), 1, 1);
  Waiting second(workers[1].get());
  SendOwn(workers[2].get(), 1, 2);
  ASSERT_TRUE(workers[2]->Finish().ok());
  EXPECT_EQ(RanksOf(*first.Get()), (Ranks{0, 1, 2}));
  EXPECT_TRUE(second.Get().ok());

  SendOwn(workers[1].get(), 2, 1);
  Waiting alone(workers[1].get());
  harness.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(RanksOf(*alone.Get()), Ranks{1});
  request.mutable_session()->set_min_workers(4);
  EXPECT_EQ(Reason(harness.registry.Update(request).status()),
            "INVALID_OPTION");
}

TEST(Quorum, MoreThanAllRanksAndANegativeTimeoutAreRefused) {
  Harness harness;
  v1::CreateSessionRequest request;
  *request.mutable_session() = Quorum(kSmall, 4);
  absl::Status status = harness.registry.Create(request).status();
  EXPECT_EQ(Reason(status), "INVALID_OPTION");
  EXPECT_NE(std::string(status.message()).find("min_workers"),
            std::string::npos);
  *request.mutable_session() = Quorum(kSmall, 3);
  request.mutable_session()->mutable_straggler_timeout()->set_seconds(-1);
  status = harness.registry.Create(request).status();
  EXPECT_EQ(Reason(status), "INVALID_OPTION");
  request.mutable_session()->clear_straggler_timeout();
  const absl::StatusOr<v1::Session> made = harness.registry.Create(request);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->straggler_timeout().seconds(), 10);
}

TEST(Leaving, TheLastOneThatIsWaitedForEndsTheRoundByLeaving) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    auto workers = harness.JoinAll(harness.Create("s", Quorum(n, 1)));
    Twin twin(&harness, n);
    // Asleep, and the clock stands still.
    SendOwn(workers[0].get(), 1, 0);
    Waiting first(workers[0].get());
    SendOwn(workers[1].get(), 1, 1);
    Waiting second(workers[1].get());
    ASSERT_TRUE(workers[2]->stream().Leave().ok());
    workers[2] = nullptr;
    const absl::StatusOr<Answer> answer = first.Get();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->update, twin.Step(1, {0, 1}));
    EXPECT_EQ(second.Get()->update, answer->update);
    EXPECT_EQ(Absent(harness), Ranks{2});

    // It is back with its next contribution, not with its Join.
    workers[2] = harness.Join("sessions/s", 2);
    EXPECT_EQ(Absent(harness), Ranks{2});
    EXPECT_EQ(Missing(StepOf(&workers, 2, {0, 1})), Ranks{2});
    twin.Step(2, {0, 1});
    EXPECT_EQ(StepOf(&workers, 3, {2, 0, 1}).update, twin.Step(3, {0, 1, 2}));
    EXPECT_EQ(Absent(harness), Ranks());
  }
}

TEST(Leaving, AnIncompleteContributionGoesWithItsRank) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  Twin twin(&harness, kSmall);
  SendOwn(workers[0].get(), 1, 0);
  Waiting first(workers[0].get());
  SendHalf(workers[2].get(), 1, 2);
  ASSERT_TRUE(workers[2]->stream().Leave().ok());
  workers[2] = nullptr;
  SendOwn(workers[1].get(), 1, 1);
  const absl::StatusOr<Answer> answer = workers[1]->Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Missing(*answer), Ranks{2});
  EXPECT_EQ(answer->update, twin.Step(1, {0, 1}));
  EXPECT_TRUE(first.Get().ok());
}

TEST(Leaving, ACompleteContributionStaysInTheRound) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  Twin twin(&harness, kSmall);
  SendOwn(workers[2].get(), 1, 2);
  {
    Waiting waiting(workers[2].get());
    waiting.Cancel();
    EXPECT_FALSE(waiting.Get().ok());
  }
  workers[2] = harness.Join("sessions/s", 2);
  ASSERT_TRUE(workers[2]->stream().Leave().ok());
  EXPECT_EQ(Absent(harness), Ranks{2});
  SendOwn(workers[0].get(), 1, 0);
  Waiting first(workers[0].get());
  SendOwn(workers[1].get(), 1, 1);
  const absl::StatusOr<Answer> answer = workers[1]->Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(RanksOf(*answer), (Ranks{0, 1, 2}));
  EXPECT_EQ(answer->update, twin.Step(1, {0, 1, 2}));
  EXPECT_TRUE(first.Get().ok());
  EXPECT_EQ(Absent(harness), Ranks{2});
}

TEST(Leaving, ARoundOfAllRanksStillNeedsTheOneThatLeft) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 0)));
  ASSERT_TRUE(workers[2]->stream().Leave().ok());
  workers[2] = nullptr;
  EXPECT_EQ(Absent(harness), Ranks{2});
  SendOwn(workers[0].get(), 1, 0);
  Waiting first(workers[0].get());
  SendOwn(workers[1].get(), 1, 1);
  Waiting second(workers[1].get());
  harness.clock.Advance(absl::Seconds(10));
  EXPECT_EQ(Metadata(first.Get().status(), "missing_ranks"), "2");
  EXPECT_EQ(Reason(second.Get().status()), "ROUND_TIMEOUT");
}

TEST(Leaving, FewerThanTheQuorumWaitForOthersToTheDeadline) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Quorum(kSmall, 2)));
  ASSERT_TRUE(workers[1]->stream().Leave().ok());
  ASSERT_TRUE(workers[2]->stream().Leave().ok());
  SendOwn(workers[0].get(), 1, 0);
  Waiting waiting(workers[0].get());
  harness.clock.Advance(absl::Seconds(10));
  EXPECT_EQ(Reason(waiting.Get().status()), "ROUND_TIMEOUT");
}

}  // namespace
}  // namespace concord
