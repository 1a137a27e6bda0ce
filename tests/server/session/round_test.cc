// Rounds: complete when all ranks are in, the same bits in any order, failed at
// their deadline.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

TEST(Round, ThreeRanksInAnyOrderOfArrivalGiveTheSameBits) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    std::vector<uint32_t> order = {0, 1, 2};
    std::vector<Vector> expected;
    do {
      const std::string id = absl::StrCat("s", order[0], order[1], order[2]);
      auto workers = harness.JoinAll(harness.Create(id, harness.Options(n)));
      for (uint64_t step = 1; step <= 3; ++step) {
        const Answer answer = harness.StepAll(&workers, step, order);
        EXPECT_EQ(answer.result.contributors_size(), 3);
        EXPECT_FALSE(answer.result.warming_up());
        if (expected.size() < step) {
          expected.push_back(answer.update);
        } else {
          EXPECT_EQ(answer.update, expected[step - 1]) << id << " " << step;
        }
      }
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_NE(expected[0], expected[1]);
    EXPECT_NE(expected[0], Vector(n, 0.0f));
  }
}

TEST(Round, ChunkSizesMakeNoDifference) {
  Harness harness;
  Vector expected;
  for (const size_t chunk :
       {size_t{1024}, size_t{7}, size_t{4096}, kSmall * 4}) {
    const std::string name =
        harness.Create(absl::StrCat("c", chunk), harness.Options(kSmall, 1));
    const auto worker = harness.Join(name, 0);
    const Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
    ASSERT_TRUE(worker->Send(worker->Header(1, vectors), vectors, chunk).ok());
    const absl::StatusOr<Answer> answer = worker->Finish();
    ASSERT_TRUE(answer.ok()) << answer.status();
    if (expected.empty()) expected = answer->update;
    EXPECT_EQ(answer->update, expected) << chunk;
  }
}

TEST(Round, OneMessageWithAllVectorsMeansWhatChunksMean) {
  Harness harness;
  const auto worker =
      harness.Join(harness.Create("one", harness.Options(kSmall, 1)), 0);
  const auto twin =
      harness.Join(harness.Create("twin", harness.Options(kSmall, 1)), 0);
  const Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
  std::vector<std::byte> all;
  for (const auto& [index, vector] : vectors) {
    const auto* bytes = reinterpret_cast<const std::byte*>(vector.data());
    all.insert(all.end(), bytes, bytes + vector.size() * sizeof(float));
  }
  ASSERT_TRUE(worker->stream().Begin(worker->Header(1, vectors)).ok());
  const absl::Span<const std::byte> whole = all;
  const absl::Span<const std::byte> pieces[] = {
      whole.first(1001), whole.subspan(1001, 9000), whole.subspan(10001)};
  ASSERT_TRUE(worker->stream().AppendNext(pieces).ok());
  EXPECT_TRUE(worker->stream().complete());
  const absl::StatusOr<Answer> answer = worker->Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update, twin->Step(1, vectors)->update);
  // One byte more than announced.
  ASSERT_TRUE(worker->stream()
                  .Begin(worker->Header(2, Gradients(kSmall, 2, {0, 1, 2})))
                  .ok());
  all.push_back(std::byte{0});
  const absl::Span<const std::byte> longer[] = {absl::MakeConstSpan(all)};
  EXPECT_EQ(Reason(worker->stream().AppendNext(longer)), "CHUNK_TOO_LARGE");
}

TEST(Round, ARankMayBringNoVector) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const Vectors all = Gradients(kSmall, 1, {0, 1, 2});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, {}), {}).ok());
  Waiting first(workers[0].get());
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, {}), {}).ok());
  Waiting second(workers[1].get());
  const absl::StatusOr<Answer> answer = workers[2]->Step(1, all);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(first.Get()->update, answer->update);
  EXPECT_EQ(second.Get()->update, answer->update);
}

TEST(Round, TimeoutNamesTheMissingRanksAndTheNextRoundIsRight) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  harness.StepAll(&workers, 1);
  harness.StepAll(&twins, 1);

  // Rank 0 waits, rank 1 is in the middle of its vector, rank 2 never comes.
  const Vectors other = Gradients(kSmall, 77, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(2, other), other).ok());
  Waiting waiting(workers[0].get());
  const Vectors half = Gradients(kSmall, 78, {1});
  ASSERT_TRUE(workers[1]->stream().Begin(workers[1]->Header(2, half)).ok());
  harness.clock.Advance(absl::Seconds(11));
  const absl::Status timeout = waiting.Get().status();
  EXPECT_EQ(timeout.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Reason(timeout), "ROUND_TIMEOUT");
  EXPECT_EQ(Metadata(timeout, "missing_ranks"), "1,2");
  const std::vector<std::byte> bytes(8);
  const absl::Span<const std::byte> pieces[] = {bytes};
  EXPECT_EQ(Reason(workers[1]->stream().Append({0, 0, 8}, pieces)),
            "ROUND_TIMEOUT");

  // Both streams end with their error; the ranks come again.
  workers[0] = nullptr;
  workers[1] = nullptr;
  workers[0] = harness.Join("sessions/s", 0);
  workers[1] = harness.Join("sessions/s", 1);
  EXPECT_EQ(harness.StepAll(&workers, 2).update,
            harness.StepAll(&twins, 2).update);
}

TEST(Round, ADeadlineThatNobodyWaitedForIsNoticedByTheNextHeader) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  const Vectors half = Gradients(kSmall, 78, {2});
  ASSERT_TRUE(workers[0]->stream().Begin(workers[0]->Header(1, half)).ok());
  harness.clock.Advance(absl::Seconds(11));
  // Loss 2 is free again: the hung rank's contribution is gone.
  const Vectors vectors = Gradients(kSmall, 1, {2});
  ASSERT_TRUE(workers[2]->Send(workers[2]->Header(1, vectors), vectors).ok());
  Waiting waiting(workers[2].get());
  workers[0] = harness.Join("sessions/s", 0);
  const Vectors first = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, first), first).ok());
  Waiting also(workers[0].get());
  const absl::StatusOr<Answer> answer =
      workers[1]->Step(1, Gradients(kSmall, 1, {1}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(waiting.Get()->update, answer->update);
  EXPECT_EQ(also.Get()->update, harness.StepAll(&twins, 1).update);
}

TEST(Round, AnEmptyRoundIsRefusedForAllAndKeepsItsNumber) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, {}), {}).ok());
  Waiting first(workers[0].get());
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, {}), {}).ok());
  Waiting second(workers[1].get());
  const absl::Status status = workers[2]->Step(1, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Reason(status), "EMPTY_ROUND");
  EXPECT_EQ(Reason(first.Get().status()), "EMPTY_ROUND");
  EXPECT_EQ(Reason(second.Get().status()), "EMPTY_ROUND");
  workers.clear();
  workers = harness.JoinAll("sessions/s");
  EXPECT_EQ(harness.StepAll(&workers, 1).update,
            harness.StepAll(&twins, 1).update);
}

TEST(Round, WarmUpGivesZerosUntilEveryLossWasSeen) {
  Harness harness;
  const auto worker =
      harness.Join(harness.Create("s", harness.Options(kSmall, 1)), 0);
  const absl::StatusOr<Answer> first =
      worker->Step(1, Gradients(kSmall, 1, {0, 2}));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->result.warming_up());
  EXPECT_EQ(first->update, Vector(kSmall, 0.0f));
  const absl::StatusOr<Answer> second =
      worker->Step(2, Gradients(kSmall, 2, {1}));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(second->result.warming_up());
  EXPECT_NE(second->update, Vector(kSmall, 0.0f));
}

TEST(Round, UpdateCosinesAreForWhoAsksAndChangeNoBit) {
  Harness harness;
  v1::Session asking = harness.Options(kLarge);
  asking.set_update_cosines(true);
  auto told = harness.JoinAll(harness.Create("told", asking));
  auto plain =
      harness.JoinAll(harness.Create("plain", harness.Options(kLarge)));
  for (uint64_t step = 1; step <= 3; ++step) {
    const Answer with = harness.StepAll(&told, step);
    const Answer without = harness.StepAll(&plain, step);
    EXPECT_EQ(with.trailer.update_cosines_size(), kLosses);
    EXPECT_EQ(without.trailer.update_cosines_size(), 0);
    EXPECT_EQ(with.update, without.update);
    EXPECT_EQ(with.trailer.checksum(), without.trailer.checksum());
  }
}

TEST(Round, RecordedLossesOfAllRanksComeBack) {
  Harness harness;
  v1::Session options = harness.Options(kSmall);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  auto workers = harness.JoinAll(harness.Create("s", options));
  std::vector<std::unique_ptr<Waiting>> waiting;
  absl::StatusOr<Answer> answer = absl::UnknownError("");
  for (uint32_t rank = 0; rank < kLosses; ++rank) {
    const Vectors vectors = Gradients(kSmall, 1, {rank});
    v1::StepHeader header = workers[rank]->Header(1, vectors);
    v1::LossValue* loss = header.add_losses();
    loss->set_index(rank);
    loss->set_value(0.5 + rank);
    ASSERT_TRUE(workers[rank]->Send(header, vectors).ok());
    if (rank < 2) {
      waiting.push_back(std::make_unique<Waiting>(workers[rank].get()));
    } else {
      answer = workers[rank]->Finish();
    }
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(std::vector<double>(answer->result.losses().begin(),
                                answer->result.losses().end()),
            (std::vector<double>{0.5, 1.5, 2.5}));
  for (const double cosine : answer->trailer.direction_cosines()) {
    EXPECT_GT(cosine, 0);
  }
}

}  // namespace
}  // namespace concord
