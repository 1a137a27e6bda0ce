// What a round's ranks say beside gradients: losses that are averaged, and the
// losses that count in its combination.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

using ::testing::ElementsAre;

// Rank i brings loss i's gradient and what `extend` adds to its header.
template <class Extend>
absl::StatusOr<Answer> StepWith(std::vector<std::unique_ptr<Worker>>* workers,
                                uint64_t step, Extend extend) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  absl::StatusOr<Answer> answer = absl::UnknownError("no rank");
  for (uint32_t rank = 0; rank < workers->size(); ++rank) {
    Worker* worker = (*workers)[rank].get();
    const Vectors own = Gradients(kSmall, step, {rank});
    v1::StepHeader header = worker->Header(step, own);
    extend(rank, &header);
    const absl::Status sent = worker->Send(header, own);
    if (!sent.ok()) return sent;
    if (rank + 1 < workers->size()) {
      waiting.push_back(std::make_unique<Waiting>(worker));
    } else {
      answer = worker->Finish();
    }
  }
  for (const auto& rank : waiting) {
    if (!rank->Get().ok()) return absl::UnknownError("a rank failed");
  }
  return answer;
}

void AddLoss(v1::StepHeader* header, uint32_t index, double value,
             double weight) {
  v1::LossValue* loss = header->add_losses();
  loss->set_index(index);
  loss->set_value(value);
  loss->set_sample_weight(weight);
}

TEST(Losses, OfSeveralRanksAreAveragedBySampleWeight) {
  Harness harness;
  v1::Session options = harness.Options(kSmall);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  auto workers = harness.JoinAll(harness.Create("s", options));
  const auto answer =
      StepWith(&workers, 1, [](uint32_t rank, v1::StepHeader* header) {
        // 0 means 1.
        AddLoss(header, 0, rank + 1.0, rank == 2 ? 2 : 0);
        if (rank == 1) AddLoss(header, 2, 7, 3);
      });
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->result.losses(),
              ElementsAre((1 + 2 + 2 * 3) / 4.0, 0, 7));
}

TEST(Losses, AMovingAverageIsRecordedWhereTheSessionAsksForIt) {
  Harness harness;
  v1::Session options = harness.Options(kSmall);
  options.mutable_options()
      ->mutable_loss_recorder()
      ->mutable_momentum()
      ->add_betas(0.5);
  auto workers = harness.JoinAll(harness.Create("s", options));
  for (const double value : {4.0, 1.0}) {
    const uint64_t step = value == 4 ? 1 : 2;
    const auto answer =
        StepWith(&workers, step, [&](uint32_t rank, v1::StepHeader* header) {
          if (rank == 0) AddLoss(header, 1, value, 1);
        });
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_DOUBLE_EQ(answer->result.losses(1), step == 1 ? 4 : 2);
  }
}

TEST(ActiveLosses, ThatOneRankNamesCountForTheRound) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const auto answer =
      StepWith(&workers, 1, [](uint32_t rank, v1::StepHeader* header) {
        if (rank != 1) return;
        header->add_active(2);
        header->add_active(0);
      });
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_NE(answer->result.solution().coefficients(0), 0);
  EXPECT_EQ(answer->result.solution().coefficients(1), 0);
  EXPECT_NE(answer->result.solution().coefficients(2), 0);
}

TEST(ActiveLosses, ThatDifferAmongRanksAreRefusedAndTheRoundGoesOn) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  const Vectors first = Gradients(kSmall, 1, {0});
  v1::StepHeader header = workers[0]->Header(1, first);
  header.add_active(1);
  header.add_active(0);
  ASSERT_TRUE(workers[0]->Send(header, first).ok());
  Waiting waiting(workers[0].get());
  v1::StepHeader other = workers[1]->Header(1, Gradients(kSmall, 1, {1}));
  other.add_active(1);
  const absl::Status status = workers[1]->stream().Begin(other);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Reason(status), "ACTIVE_MISMATCH");
  EXPECT_EQ(Metadata(status, "rank"), "0");
  EXPECT_EQ(GetErrorDetail(status)->accepted, "0,1");
  // The same ones in another order are the same.
  other.add_active(0);
  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(other, second).ok());
  Waiting also(workers[1].get());
  EXPECT_TRUE(workers[2]->Step(1, Gradients(kSmall, 1, {2})).ok());
  EXPECT_TRUE(waiting.Get().ok());
  EXPECT_TRUE(also.Get().ok());
}

TEST(ActiveLosses, OutOfRangeOrTwiceAreNamed) {
  Harness harness;
  const auto worker =
      harness.Join(harness.Create("s", harness.Options(kSmall, 1)), 0);
  v1::StepHeader header = worker->Header(1, Gradients(kSmall, 1, {0}));
  header.add_active(0);
  header.add_active(kLosses);
  absl::Status status = worker->stream().Begin(header);
  EXPECT_EQ(Reason(status), "INDEX_OUT_OF_RANGE");
  EXPECT_EQ(GetErrorDetail(status)->field, "header.active[1]");
  header.set_active(1, 0);
  status = worker->stream().Begin(header);
  EXPECT_EQ(Reason(status), "DUPLICATE_INDEX");
}

TEST(StaleLosses, AreTold) {
  Harness harness;
  v1::Session options = harness.Options(kSmall, 1);
  options.mutable_options()
      ->mutable_momentum()
      ->mutable_pseudo()
      ->set_stale_after(1);
  const auto worker = harness.Join(harness.Create("s", options), 0);
  ASSERT_TRUE(worker->Step(1, Gradients(kSmall, 1, {0, 1, 2})).ok());
  EXPECT_EQ(
      worker->Step(2, Gradients(kSmall, 2, {0}))->result.stale_losses_size(),
      0);
  EXPECT_THAT(worker->Step(3, Gradients(kSmall, 3, {0}))->result.stale_losses(),
              ElementsAre(1, 2));
}

}  // namespace
}  // namespace concord
