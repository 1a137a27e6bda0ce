// Steps with NaN or Inf in a session that skips them: they use up a number and
// change nothing else, and are as much exactly once as any other step.
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "server/session/checkpoint.h"
#include "server/storage/state_directory.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

namespace fs = std::filesystem;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

v1::Session Options(size_t n, const std::string& kind = "pseudo",
                    uint32_t workers = kLosses) {
  v1::Session session = Harness::Options(n, workers);
  v1::OperatorOptions& options = *session.mutable_options();
  if (kind == "none") options.mutable_momentum()->mutable_none();
  if (kind == "separate") options.mutable_momentum()->mutable_separate();
  if (kind == "columns") options.mutable_combiner()->mutable_trimmed_mean();
  if (kind == "state") options.mutable_combiner()->mutable_cr_mogm();
  if (kind == "stale") {
    options.mutable_momentum()->mutable_pseudo()->set_stale_after(2);
  }
  session.set_on_nonfinite(v1::NON_FINITE_SKIP);
  return session;
}

// A gradient whose last element is `value`.
Vector With(float value, Vector vector) {
  vector.back() = value;
  return vector;
}

// "0:1 2 5:0": rank 0 for losses 1 and 2, rank 5 for loss 0.
std::string Skipped(const v1::StepResult& result) {
  return absl::StrJoin(result.skipped_nonfinite(), " ",
                       [](std::string* out, const v1::Contributor& skipped) {
                         absl::StrAppend(out, skipped.rank(), ":",
                                         absl::StrJoin(skipped.losses(), " "));
                       });
}

// Every rank brings what it is given, in this order; the answers by rank.
std::vector<Answer> Round(const std::vector<std::unique_ptr<Worker>>& workers,
                          uint64_t step, const std::vector<Vectors>& brings) {
  for (size_t rank = 0; rank < workers.size(); ++rank) {
    const absl::Status sent = workers[rank]->Send(
        workers[rank]->Header(step, brings[rank]), brings[rank]);
    EXPECT_TRUE(sent.ok()) << sent;
  }
  std::vector<std::unique_ptr<Waiting>> waiting;
  for (size_t rank = 1; rank < workers.size(); ++rank) {
    waiting.push_back(std::make_unique<Waiting>(workers[rank].get()));
  }
  std::vector<absl::StatusOr<Answer>> found = {workers[0]->Finish()};
  for (const auto& other : waiting) found.push_back(other->Get());
  std::vector<Answer> answers;
  for (absl::StatusOr<Answer>& answer : found) {
    EXPECT_TRUE(answer.ok()) << answer.status();
    answers.push_back(answer.ok() ? *std::move(answer) : Answer());
  }
  return answers;
}

// What the ranks bring to the k-th step that counts.
std::vector<Vectors> Brings(size_t n, uint64_t k) {
  return {Gradients(n, k, {0}), k % 3 == 2 ? Vectors() : Gradients(n, k, {1}),
          Gradients(n, k, {2})};
}

class SkippedStep : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Operators, SkippedStep,
                         testing::Values("pseudo", "separate", "none",
                                         "columns", "state", "stale"),
                         [](const auto& info) { return info.param; });

TEST_P(SkippedStep, TheOtherStepsAreBitForBitThoseOfASessionWithoutIt) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    const std::string name = harness.Create("s", Options(n, GetParam()));
    const std::string plain = harness.Create("plain", Options(n, GetParam()));
    const auto workers = harness.JoinAll(name);
    const auto twins = harness.JoinAll(plain);
    uint64_t counted = 0;
    for (uint64_t step = 1; step <= 11; ++step) {
      const bool overflows = step == 1 || step == 7 || step == 8;
      std::vector<Vectors> brings = Brings(n, overflows ? 50 : ++counted);
      if (overflows) brings[1] = {{1, With(kInf, Gradient(n, 50, 1))}};
      const std::vector<Answer> answers = Round(workers, step, brings);
      if (!overflows) {
        const std::vector<Answer> expected =
            Round(twins, counted, Brings(n, counted));
        for (uint32_t rank = 0; rank < kLosses; ++rank) {
          EXPECT_EQ(answers[rank].update, expected[0].update) << step;
          EXPECT_EQ(Skipped(answers[rank].result), "");
        }
        EXPECT_EQ(answers[0].result.solution().SerializeAsString(),
                  expected[0].result.solution().SerializeAsString());
        EXPECT_EQ(answers[0].result.gram().SerializeAsString(),
                  expected[0].result.gram().SerializeAsString());
        continue;
      }
      for (uint32_t rank = 0; rank < kLosses; ++rank) {
        const Answer& answer = answers[rank];
        EXPECT_EQ(answer.result.step(), step);
        EXPECT_EQ(Skipped(answer.result), "1:1");
        EXPECT_EQ(answer.update, Vector(n, 0));
        EXPECT_FALSE(answer.result.dropped());
        EXPECT_EQ(answer.result.contributors_size(), 3);
        EXPECT_EQ(answer.trailer.checksum(), answers[0].trailer.checksum());
      }
    }
    const v1::Statistics counts =
        (*harness.registry.Get(name))->statistics().Read();
    EXPECT_EQ(counts.steps().skipped(), 3);
  }
}

TEST_P(SkippedStep, ARetryGetsTheSameBytesAndIsStillSkipped) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    auto worker =
        harness.Join(harness.Create("s", Options(n, GetParam(), 1)), 0);
    ASSERT_TRUE(worker->Step(1, Gradients(n, 1, {0, 1, 2})).ok());
    Vectors bad = Gradients(n, 2, {0, 1, 2});
    bad[0].front() = kNan;
    bad[2] = With(-kInf, bad[2]);
    const absl::StatusOr<Answer> first = worker->Step(2, bad);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(Skipped(first->result), "0:0 2");
    // What a retry brings does not matter any more.
    const absl::StatusOr<Answer> again =
        worker->Step(2, Gradients(n, 2, {0, 1, 2}));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->result.repeated());
    EXPECT_EQ(Skipped(again->result), "0:0 2");
    EXPECT_EQ(again->update, first->update);
    EXPECT_EQ(again->trailer.checksum(), first->trailer.checksum());
  }
}

TEST(SkippedSteps, AreRefusedAsBeforeWhereNothingElseIsSaid) {
  Harness harness;
  v1::Session options = Options(kSmall, "pseudo", 1);
  options.clear_on_nonfinite();
  const std::string name = harness.Create("s", options);
  EXPECT_EQ((*harness.registry.Get(name))->Describe().on_nonfinite(),
            v1::NON_FINITE_REFUSE);
  auto worker = harness.Join(name, 0);
  const Vectors bad = {{0, With(kNan, Gradient(kSmall, 1, 0))}};
  EXPECT_EQ(Reason(worker->Send(worker->Header(1, bad), bad)), "NON_FINITE");
}

TEST(SkippedSteps, APolicyThatThereIsNotIsRefused) {
  Harness harness;
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = Options(kSmall);
  request.mutable_session()->set_on_nonfinite(
      static_cast<v1::NonFinitePolicy>(9));
  const absl::Status status =
      harness.registry.Create(request, "", nullptr).status();
  EXPECT_EQ(Reason(status), "INVALID_OPTION");
  EXPECT_NE(status.message().find("session.on_nonfinite"), std::string::npos);
}

TEST(SkippedSteps, NameEveryRankAndLossAlsoThoseOfValues) {
  Harness harness;
  v1::Session options = Options(kSmall);
  options.set_max_ranks_per_vector(2);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  const std::string name = harness.Create("s", options);
  const auto workers = harness.JoinAll(name);
  const auto round = [&](uint64_t step, double value,
                         const std::vector<Vectors>& brings) {
    for (uint32_t rank = 0; rank < kLosses; ++rank) {
      v1::StepHeader header = workers[rank]->Header(step, brings[rank]);
      for (const auto& [index, vector] : brings[rank]) {
        v1::LossValue* const loss = header.add_losses();
        loss->set_index(index);
        loss->set_value(rank == 2 ? value : 0.5);
      }
      const absl::Status sent = workers[rank]->Send(header, brings[rank]);
      EXPECT_TRUE(sent.ok()) << sent;
    }
    Waiting second(workers[1].get()), third(workers[2].get());
    const absl::StatusOr<Answer> answer = workers[0]->Finish();
    EXPECT_TRUE(answer.ok() && second.Get().ok() && third.Get().ok());
    return answer->result;
  };
  const std::vector<Vectors> good = {Gradients(kSmall, 1, {0, 1}),
                                     Gradients(kSmall, 2, {1, 2}),
                                     Gradients(kSmall, 3, {2})};
  EXPECT_EQ(Skipped(round(1, 2.5, good)), "");
  std::vector<Vectors> bad = good;
  bad[0][1] = With(kNan, bad[0][1]);
  bad[1][1] = With(kInf, bad[1][1]);
  const v1::StepResult skipped =
      round(2, std::numeric_limits<double>::infinity(), bad);
  EXPECT_EQ(Skipped(skipped), "0:1 1:1 2:2");
  // Recorded is what was before: the mean of .5 and 2.5 for loss 2.
  EXPECT_EQ(absl::StrJoin(skipped.losses(), " "), "0.5 0.5 1.5");
  EXPECT_EQ(Skipped(round(3, kNan, good)), "2:2");
  EXPECT_EQ(absl::StrJoin(round(4, 3.5, good).losses(), " "), "0.5 0.5 2");
}

TEST(SkippedSteps, AnInfiniteMicroBatchMakesItsWholeStepASkippedOne) {
  for (const uint32_t ranks : {1, 2}) {
    Harness harness;
    v1::Session options = Options(kSmall, "pseudo", 2);
    options.set_max_ranks_per_vector(ranks);
    const std::string name = harness.Create("s", options);
    const std::string plain = harness.Create("plain", options);
    auto worker = harness.Join(name, 0), other = harness.Join(name, 1);
    auto twin = harness.Join(plain, 0), twin_other = harness.Join(plain, 1);
    const auto step = [&](Worker* accumulates, Worker* brings, uint64_t step,
                          float element) {
      for (uint32_t batch = 0; batch < 3; ++batch) {
        Vectors vectors = Gradients(kSmall, 10 + batch, {0, 1});
        // -Inf after Inf would be NaN, a number after it stays Inf.
        if (batch == 0) vectors[1].back() = element;
        v1::StepHeader header = accumulates->Header(step, vectors);
        header.mutable_accumulation()->set_micro_batch(batch);
        header.mutable_accumulation()->set_last(batch == 2);
        const absl::Status sent = accumulates->Send(header, vectors);
        EXPECT_TRUE(sent.ok()) << sent;
      }
      Waiting waiting(accumulates);
      const absl::StatusOr<Answer> answer =
          brings->Step(step, Gradients(kSmall, 1, {2}));
      EXPECT_TRUE(answer.ok()) << answer.status();
      EXPECT_TRUE(waiting.Get().ok());
      return *answer;
    };
    EXPECT_EQ(Skipped(step(worker.get(), other.get(), 1, kInf).result), "0:1");
    EXPECT_EQ(step(worker.get(), other.get(), 2, 1).update,
              step(twin.get(), twin_other.get(), 1, 1).update);
  }
}

TEST(SkippedSteps, WhatIsInfiniteOnlyInSixteenBitsSkipsToo) {
  for (const auto type : {v1::FLOAT16, v1::BFLOAT16}) {
    Harness harness;
    v1::Session options = Options(kSmall, "pseudo", 1);
    options.set_gradient_type(type);
    options.set_update_type(type);
    auto worker = harness.Join(harness.Create("s", options), 0);
    Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
    vectors[1] = With(1e6f, vectors[1]);
    const absl::StatusOr<Answer> answer = worker->Step(1, vectors);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(Skipped(answer->result), type == v1::FLOAT16 ? "0:1" : "");
    EXPECT_EQ(answer->result.update_type(), type);
    if (type == v1::FLOAT16) {
      EXPECT_EQ(answer->update, Vector(kSmall, 0));
      EXPECT_EQ(worker->Step(1, {})->trailer.checksum(),
                answer->trailer.checksum());
    }
  }
}

TEST(SkippedSteps, AStragglersInfinityCountsOnlyWhereItCameInTime) {
  Harness harness;
  v1::Session options = Options(kSmall);
  options.set_min_workers(2);
  options.set_update_history(2);
  const std::string name = harness.Create("s", options);
  const auto workers = harness.JoinAll(name);
  const Vectors bad = {{2, With(kNan, Gradient(kSmall, 1, 2))}};
  // The third one has sent its NaN, but not yet said that this is all.
  ASSERT_TRUE(workers[2]->Send(workers[2]->Header(1, bad), bad).ok());
  const auto pair = [&](uint64_t step, const Vectors& second) {
    Waiting waiting(workers[0].get());
    const absl::StatusOr<Answer> answer = workers[1]->Step(step, second);
    EXPECT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(waiting.Get().ok());
    return *answer;
  };
  const auto send = [&](uint64_t step, const Vectors& vectors) {
    EXPECT_TRUE(
        workers[0]->Send(workers[0]->Header(step, vectors), vectors).ok());
  };
  send(1, Gradients(kSmall, 1, {0}));
  ASSERT_TRUE(workers[1]
                  ->Send(workers[1]->Header(1, Gradients(kSmall, 1, {1})),
                         Gradients(kSmall, 1, {1}))
                  .ok());
  Waiting first(workers[0].get()), second(workers[1].get());
  harness.clock.Advance(absl::Seconds(11));
  const absl::StatusOr<Answer> in_time = first.Get();
  ASSERT_TRUE(in_time.ok()) << in_time.status();
  EXPECT_EQ(Skipped(in_time->result), "");
  EXPECT_TRUE(second.Get().ok());
  const absl::StatusOr<Answer> late = workers[2]->Finish();
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_TRUE(late->result.dropped());
  EXPECT_EQ(late->update, in_time->update);
  // Without it a NaN of the quorum skips; it learns that one step later.
  send(2, Gradients(kSmall, 2, {0}));
  const Answer skipped = pair(2, {{1, With(kInf, Gradient(kSmall, 2, 1))}});
  EXPECT_EQ(Skipped(skipped.result), "1:1");
  send(3, Gradients(kSmall, 3, {0}));
  const Answer after = pair(3, Gradients(kSmall, 3, {1}));
  EXPECT_EQ(Skipped(after.result), "");
  const absl::StatusOr<Answer> behind = workers[2]->Step(2, {});
  ASSERT_TRUE(behind.ok()) << behind.status();
  EXPECT_EQ(Skipped(behind->result), "1:1");
  EXPECT_TRUE(behind->result.dropped());
  EXPECT_EQ(behind->update, Vector(kSmall, 0));
  EXPECT_EQ(behind->trailer.checksum(), skipped.trailer.checksum());
}

TEST(SkippedSteps, ARoundWithoutAnyVectorIsRefusedWhateverItsLossesAre) {
  Harness harness;
  v1::Session options = Options(kSmall, "pseudo", 1);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  auto worker = harness.Join(harness.Create("s", options), 0);
  v1::StepHeader header = worker->Header(1, {});
  header.add_losses()->set_value(kNan);
  ASSERT_TRUE(worker->Send(header, {}).ok());
  EXPECT_EQ(Reason(worker->Finish().status()), "EMPTY_ROUND");
}

TEST(SkippedSteps, AContributionThatIsCutLeavesTheRoundToTheNextTry) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall, "pseudo", 1));
  const Vectors bad = {{0, With(kNan, Gradient(kSmall, 1, 0))}};
  {
    // Its vector is in, its end is not.
    const auto worker = harness.Join(name, 0, 1);
    ASSERT_TRUE(worker->Send(worker->Header(1, bad), bad).ok());
  }
  const auto worker = harness.Join(name, 0, 2);
  const absl::StatusOr<Answer> answer =
      worker->Step(1, Gradients(kSmall, 1, {0, 1, 2}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Skipped(answer->result), "");
}

TEST(SkippedSteps, ASessionOfTheOtherPolicyIsNotTakenForTheSame) {
  Harness harness;
  harness.Create("s", Options(kSmall));
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = Options(kSmall);
  request.mutable_session()->set_on_nonfinite(v1::NON_FINITE_REFUSE);
  const absl::Status status =
      harness.registry.Create(request, "", nullptr).status();
  EXPECT_EQ(Metadata(status, "field"), "on_nonfinite");
}

// ---- What outlives the server ----

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path) {
  auto opened = StateDirectory::Open(path, "boot");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

bool IsSkipped(uint64_t step) { return step == 1 || step == 4 || step == 5; }

// Steps [first, last] of one rank that has applied first - 1.
std::vector<Answer> StepsOf(Harness* harness, size_t n, uint64_t first,
                            uint64_t last) {
  v1::Join join = Harness::JoinMessage("sessions/s", 0, first + 1000);
  join.set_resume_step(first - 1);
  auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  std::vector<Answer> answers;
  for (uint64_t step = first; step <= last; ++step) {
    Vectors vectors =
        step < 4 ? Gradients(n, step, {0, 1, 2})
                 : Gradients(n, step, {static_cast<uint32_t>(step % 3)});
    if (IsSkipped(step)) vectors.begin()->second.back() = kNan;
    const auto answer = (*worker)->Step(step, vectors);
    EXPECT_TRUE(answer.ok()) << answer.status();
    answers.push_back(answer.ok() ? *answer : Answer());
    EXPECT_EQ(Skipped(answers.back().result) != "", IsSkipped(step)) << step;
  }
  return answers;
}

std::vector<Vector> Updates(const std::vector<Answer>& answers) {
  std::vector<Vector> updates;
  for (const Answer& answer : answers) updates.push_back(answer.update);
  return updates;
}

TEST_P(SkippedStep, ADeathAtAnyInstantLeavesTheOldStepOrTheNewOneWhole) {
  constexpr uint64_t kLast = 7;
  for (const bool far : {false, true}) {
    const auto kernels = [far] {
      return far ? MakeFarKernels(2) : MakeCpuKernels(2);
    };
    std::vector<Vector> expected;
    {
      Harness harness;
      harness.Create("s", Options(kSmall, GetParam(), 1));
      expected = Updates(StepsOf(&harness, kSmall, 1, kLast + 2));
    }
    TemporaryDirectory place, copies;
    std::vector<std::string> deaths;
    {
      const auto directory = OpenDirectory(place.path());
      const std::string file = directory->StatePath("s");
      Harness harness(
          directory.get(),
          [&](Phase) {
            deaths.push_back(copies / absl::StrCat(deaths.size()));
            fs::create_directories(deaths.back() + "/sessions/s");
            fs::copy_file(file, deaths.back() + "/sessions/s/state");
          },
          nullptr, kernels());
      harness.Create("s", Options(kSmall, GetParam(), 1));
      StepsOf(&harness, kSmall, 1, kLast);
    }
    for (const std::string& death : deaths) {
      const auto directory = OpenDirectory(death);
      Harness harness(directory.get(), nullptr, nullptr, kernels());
      const auto taken = harness.registry.TakeUpStored();
      ASSERT_EQ(taken.size(), 1);
      ASSERT_TRUE(taken[0].status.ok()) << taken[0].status;
      const uint64_t again = std::max<uint64_t>(taken[0].committed_step, 1);
      const std::vector<Vector> updates =
          Updates(StepsOf(&harness, kSmall, again, kLast + 2));
      ASSERT_EQ(updates, std::vector<Vector>(expected.begin() + again - 1,
                                             expected.end()))
          << death << ", committed " << taken[0].committed_step;
    }
  }
}

TEST_P(SkippedStep, ACheckpointAfterSkippedStepsIsOfTheSessionsStep) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  const std::string name = harness.Create("s", Options(kSmall, GetParam(), 1));
  StepsOf(&harness, kSmall, 1, 5);
  v1::CreateCheckpointRequest create;
  create.set_session(name);
  const auto made = harness.registry.CreateCheckpoint(create);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->step(), 5);
  const std::vector<Vector> expected = Updates(StepsOf(&harness, kSmall, 6, 9));
  v1::RestoreSessionRequest restore;
  restore.set_name(name);
  const auto restored = harness.registry.Restore(restore);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->committed_step(), 5);
  // The skipped step is there to be asked for, and the others go on.
  const std::vector<Answer> answers = StepsOf(&harness, kSmall, 5, 9);
  EXPECT_EQ(answers[0].update, Vector(kSmall, 0));
  EXPECT_EQ(Updates({answers.begin() + 1, answers.end()}), expected);
}

}  // namespace
}  // namespace concord
