// Several ranks that bring the same loss: averaged by weight in rank order,
// whatever the order of arrival; one alone counts as it is.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

v1::Session Shared(size_t n, uint32_t ranks_per_vector, uint32_t workers = 3) {
  v1::Session options = Harness::Options(n, workers);
  options.set_max_ranks_per_vector(ranks_per_vector);
  return options;
}

void SetMethod(const std::string& method, v1::Session* options) {
  v1::MomentumOptions* momentum =
      options->mutable_options()->mutable_momentum();
  if (method == "separate") momentum->mutable_separate();
  if (method == "none") momentum->mutable_none();
}

// Rank r's gradient of a loss.
Vector GradientOf(size_t n, uint64_t step, uint32_t rank, uint32_t index) {
  return RandomVector(n, static_cast<int>(step * 1000 + rank * 10 + index));
}

Vectors GradientsOf(size_t n, uint64_t step, uint32_t rank,
                    const std::vector<uint32_t>& indexes) {
  Vectors vectors;
  for (const uint32_t index : indexes) {
    vectors[index] = GradientOf(n, step, rank, index);
  }
  return vectors;
}

// The plain weighted mean, in doubles and in the order of the parts.
Vector Mean(const std::vector<std::pair<double, Vector>>& parts) {
  double sum = 0;
  for (const auto& [weight, vector] : parts) sum += weight;
  Vector mean(parts.front().second.size());
  for (size_t e = 0; e < mean.size(); ++e) {
    double value = 0;
    for (const auto& [weight, vector] : parts) {
      value += weight / sum * vector[e];
    }
    mean[e] = static_cast<float>(value);
  }
  return mean;
}

absl::Status SendWeighted(Worker* worker, uint64_t step, const Vectors& vectors,
                          double weight) {
  v1::StepHeader header = worker->Header(step, vectors);
  for (auto& vector : *header.mutable_vectors()) {
    vector.set_sample_weight(weight);
  }
  return worker->Send(header, vectors);
}

struct Bring {
  std::vector<uint32_t> losses;
  double weight = 1;
};

// A step in which rank r brings `brings[r]`, in this order of arrival.
Answer StepOf(std::vector<std::unique_ptr<Worker>>* workers, uint64_t step,
              const std::vector<Bring>& brings,
              const std::vector<uint32_t>& order) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  absl::StatusOr<Answer> answer = absl::UnknownError("no rank");
  for (const uint32_t rank : order) {
    Worker* const worker = (*workers)[rank].get();
    const size_t n = worker->stream().joined().num_parameters();
    const absl::Status sent = SendWeighted(
        worker, step, GradientsOf(n, step, rank, brings[rank].losses),
        brings[rank].weight);
    EXPECT_TRUE(sent.ok()) << sent;
    if (rank == order.back()) {
      answer = worker->Finish();
    } else {
      waiting.push_back(std::make_unique<Waiting>(worker));
    }
  }
  EXPECT_TRUE(answer.ok()) << answer.status();
  for (const auto& other : waiting) {
    const absl::StatusOr<Answer> same = other->Get();
    EXPECT_TRUE(same.ok() && answer.ok() && same->update == answer->update);
  }
  return answer.ok() ? *std::move(answer) : Answer();
}

// What one rank gets that brings the means itself.
class Oracle {
 public:
  Oracle(Harness* harness, v1::Session options, const std::string& id)
      : n_(options.num_parameters()) {
    options.set_num_workers(1);
    options.set_max_ranks_per_vector(1);
    worker_ = harness->Join(harness->Create(id, options), 0);
  }
  Vector Step(uint64_t step, const std::vector<Bring>& brings) {
    Vectors means;
    for (uint32_t index = 0; index < kLosses; ++index) {
      std::vector<std::pair<double, Vector>> parts;
      for (uint32_t rank = 0; rank < brings.size(); ++rank) {
        const std::vector<uint32_t>& losses = brings[rank].losses;
        if (std::find(losses.begin(), losses.end(), index) != losses.end()) {
          parts.emplace_back(brings[rank].weight,
                             GradientOf(n_, step, rank, index));
        }
      }
      if (!parts.empty()) means[index] = Mean(parts);
    }
    const absl::StatusOr<Answer> answer = worker_->Step(step, means);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->update : Vector();
  }

 private:
  const size_t n_;
  std::unique_ptr<Worker> worker_;
};

TEST(SeveralRanks, AreAveragedByWeightTheSameBitsInAnyOrderOfArrival) {
  // Shares that are exact in binary; then the mean is, up to its rounding.
  const std::vector<Bring> all = {
      {{0, 1, 2}, 1}, {{0, 1, 2}, 2}, {{0, 1, 2}, 1}};
  const std::vector<Bring> some = {{{0, 2}, 3}, {{1}, .7}, {{0, 1}, 1}};
  const std::vector<Bring> exact = {{{0, 2}, 3}, {{1}, 1}, {{0, 1}, 1}};
  for (const size_t n : {kSmall, kLarge}) {
    for (const std::string method : {"pseudo", "separate", "none"}) {
      if (n == kLarge && method == "separate") continue;
      Harness harness;
      v1::Session options = Shared(n, 3);
      SetMethod(method, &options);
      Oracle oracle(&harness, options, "oracle");
      const std::vector<Vector> expected = {
          oracle.Step(1, all), oracle.Step(2, exact), oracle.Step(3, all)};
      std::vector<Vector> inexact;
      std::vector<uint32_t> order = {0, 1, 2};
      do {
        auto workers = harness.JoinAll(
            harness.Create(absl::StrCat("s", order[0], order[1]), options));
        EXPECT_EQ(StepOf(&workers, 1, all, order).update, expected[0]);
        EXPECT_EQ(StepOf(&workers, 2, exact, order).update, expected[1]);
        EXPECT_EQ(StepOf(&workers, 3, all, order).update, expected[2]);
        inexact.push_back(StepOf(&workers, 4, some, order).update);
        EXPECT_EQ(inexact.back(), inexact.front());
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}

TEST(SeveralRanks, WithAnyWeightsAreThePlainMeanToHalfAnUlp) {
  Harness harness;
  v1::Session options = Shared(kSmall, 3);
  SetMethod("none", &options);
  auto workers = harness.JoinAll(harness.Create("s", options));
  const std::vector<Bring> brings = {{{0}, 1}, {{0}, .3}, {{0}, 1e-3}};
  const Vector update = StepOf(&workers, 1, brings, {2, 0, 1}).update;
  const Vector mean = Mean({{1, GradientOf(kSmall, 1, 0, 0)},
                            {.3, GradientOf(kSmall, 1, 1, 0)},
                            {1e-3, GradientOf(kSmall, 1, 2, 0)}});
  for (size_t e = 0; e < kSmall; ++e) {
    EXPECT_NEAR(update[e], mean[e], 2.5e-7 * std::abs(mean[e]) + 1e-8) << e;
  }
}

TEST(SeveralRanks, OneAloneGivesTheBitsOfASessionWithoutSharing) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Shared(kSmall, 3)));
  auto twins =
      harness.JoinAll(harness.Create("twin", Harness::Options(kSmall)));
  for (uint64_t step = 1; step <= 3; ++step) {
    EXPECT_EQ(harness.StepAll(&workers, step, {2, 0, 1}).update,
              harness.StepAll(&twins, step).update);
  }
}

TEST(SeveralRanks, HugeWeightsDoNotOverflow) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Shared(kSmall, 3)));
  Oracle oracle(&harness, Shared(kSmall, 3), "oracle");
  const double huge = std::numeric_limits<double>::max();
  const std::vector<uint32_t> all = {0, 1, 2};
  EXPECT_EQ(StepOf(&workers, 1, {{all, huge}, {all, huge}, {{}, 1}}, {0, 1, 2})
                .update,
            oracle.Step(1, {{all, 1}, {all, 1}, {{}, 1}}));
}

TEST(SeveralRanks, TheirLossValuesAreAveragedByWeightToo) {
  Harness harness;
  v1::Session options = Shared(kSmall, 2, 2);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  const std::string name = harness.Create("s", options);
  auto first = harness.Join(name, 0), second = harness.Join(name, 1);
  const Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
  const auto header = [&](Worker* worker, double value, double weight) {
    v1::StepHeader made = worker->Header(1, vectors);
    v1::LossValue* loss = made.add_losses();
    loss->set_index(1);
    loss->set_value(value);
    loss->set_sample_weight(weight);
    return made;
  };
  ASSERT_TRUE(first->Send(header(first.get(), 2, 3), vectors).ok());
  Waiting waiting(first.get());
  ASSERT_TRUE(second->Send(header(second.get(), 6, 1), vectors).ok());
  const absl::StatusOr<Answer> answer = second->Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->result.losses(1), 3);
  EXPECT_TRUE(waiting.Get().ok());
}

TEST(SeveralRanks, OneMoreThanAllowedIsRefusedAndTheRoundGoesOn) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", Shared(kSmall, 2)));
  Oracle oracle(&harness, Shared(kSmall, 2), "oracle");
  const std::vector<uint32_t> all = {0, 1, 2};
  ASSERT_TRUE(
      SendWeighted(workers[0].get(), 1, GradientsOf(kSmall, 1, 0, all), 1)
          .ok());
  Waiting first(workers[0].get());
  ASSERT_TRUE(
      SendWeighted(workers[1].get(), 1, GradientsOf(kSmall, 1, 1, all), 1)
          .ok());
  Waiting second(workers[1].get());
  const absl::Status status =
      SendWeighted(workers[2].get(), 1, GradientsOf(kSmall, 1, 2, {1}), 1);
  EXPECT_EQ(Reason(status), "DUPLICATE_INDEX");
  EXPECT_EQ(Metadata(status, "rank"), "0");
  workers[2] = nullptr;
  workers[2] = harness.Join("sessions/s", 2);
  const absl::StatusOr<Answer> answer = workers[2]->Step(1, {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update, oracle.Step(1, {{all, 1}, {all, 1}, {{}, 1}}));
  EXPECT_TRUE(first.Get().ok());
  EXPECT_TRUE(second.Get().ok());
}

TEST(SeveralRanks, TooManyVectorsCountsLosses) {
  Harness harness;
  v1::Session options = Shared(kSmall, 3);
  options.set_max_vectors_per_step(2);
  auto workers = harness.JoinAll(harness.Create("s", options));
  ASSERT_TRUE(
      workers[0]
          ->stream()
          .Begin(workers[0]->Header(1, GradientsOf(kSmall, 1, 0, {0, 1})))
          .ok());
  ASSERT_TRUE(
      workers[1]
          ->stream()
          .Begin(workers[1]->Header(1, GradientsOf(kSmall, 1, 1, {0, 1})))
          .ok());
  EXPECT_EQ(Reason(workers[2]->stream().Begin(
                workers[2]->Header(1, GradientsOf(kSmall, 1, 2, {2})))),
            "TOO_MANY_VECTORS");
  workers[2] = nullptr;
  workers[2] = harness.Join("sessions/s", 2);
  EXPECT_TRUE(
      workers[2]
          ->stream()
          .Begin(workers[2]->Header(1, GradientsOf(kSmall, 1, 2, {1, 0})))
          .ok());
}

TEST(SeveralRanks, ABadOrCutContributionLeavesNothingBehind) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    auto workers = harness.JoinAll(harness.Create("s", Shared(n, 2)));
    Oracle oracle(&harness, Shared(n, 2), "oracle");
    const std::vector<uint32_t> all = {0, 1, 2};
    const std::vector<Bring> brings = {{all, 1}, {{0}, 3}, {{2, 1}, 1}};
    for (uint64_t step = 1; step <= 3; ++step) {
      // The first for its losses: others are put where it lay.
      Vectors bad = GradientsOf(n, step, 1, {0, 1});
      bad[1][n / 2] = std::numeric_limits<float>::quiet_NaN();
      const absl::Status status = SendWeighted(workers[1].get(), step, bad, 1);
      EXPECT_EQ(Reason(status), "NON_FINITE");
      EXPECT_EQ(Metadata(status, "element"), absl::StrCat(n / 2));
      workers[1] = nullptr;
      workers[1] = harness.Join("sessions/s", 1);
      ASSERT_TRUE(
          SendWeighted(workers[0].get(), step, GradientsOf(n, step, 0, all), 1)
              .ok());
      {
        Waiting waiting(workers[0].get());
        // Cut after its header.
        ASSERT_TRUE(workers[2]
                        ->stream()
                        .Begin(workers[2]->Header(
                            step, GradientsOf(n, step, 2, {0, 1, 2})))
                        .ok());
        workers[2] = nullptr;
        workers[2] = harness.Join("sessions/s", 2);
        waiting.Cancel();
        EXPECT_FALSE(waiting.Get().ok());
      }
      workers[0] = nullptr;
      workers[0] = harness.Join("sessions/s", 0);
      v1::StepHeader again = workers[0]->Header(step, {});
      again.set_attempt(2);
      ASSERT_TRUE(workers[0]->Send(again, {}).ok());
      Waiting first(workers[0].get());
      ASSERT_TRUE(SendWeighted(workers[2].get(), step,
                               GradientsOf(n, step, 2, {1, 2}), 1)
                      .ok());
      Waiting third(workers[2].get());
      ASSERT_TRUE(
          SendWeighted(workers[1].get(), step, GradientsOf(n, step, 1, {0}), 3)
              .ok());
      const absl::StatusOr<Answer> answer = workers[1]->Finish();
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(answer->update, oracle.Step(step, brings));
      EXPECT_TRUE(first.Get().ok());
      EXPECT_TRUE(third.Get().ok());
    }
  }
}

TEST(SeveralRanks, WhatAStragglerHadSentIsNotAveragedIn) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    v1::Session options = Shared(n, 3);
    options.set_min_workers(2);
    options.mutable_straggler_timeout()->set_seconds(1);
    auto workers = harness.JoinAll(harness.Create("s", options));
    Oracle oracle(&harness, Shared(n, 3), "oracle");
    const std::vector<uint32_t> all = {0, 1, 2};
    for (uint64_t step = 1; step <= 2; ++step) {
      // All of loss 0, nothing of loss 1.
      const Vectors late = GradientsOf(n, step, 0, {0, 1});
      const absl::Span<const std::byte> bytes[] = {absl::MakeConstSpan(
          reinterpret_cast<const std::byte*>(late.at(0).data()), n * 4)};
      ASSERT_TRUE(
          workers[0]->stream().Begin(workers[0]->Header(step, late)).ok());
      ASSERT_TRUE(workers[0]->stream().Append({0, 0, n * 4}, bytes).ok());
      ASSERT_TRUE(
          SendWeighted(workers[1].get(), step, GradientsOf(n, step, 1, all), 1)
              .ok());
      Waiting first(workers[1].get());
      ASSERT_TRUE(
          SendWeighted(workers[2].get(), step, GradientsOf(n, step, 2, all), 3)
              .ok());
      Waiting second(workers[2].get());
      harness.clock.Advance(absl::Seconds(1));
      const absl::StatusOr<Answer> answer = first.Get();
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_TRUE(second.Get().ok());
      EXPECT_EQ(answer->update,
                oracle.Step(step, {{{}, 1}, {all, 1}, {all, 3}}));
      ASSERT_TRUE(workers[0]->stream().Append({1, 0, n * 4}, bytes).ok());
      const absl::StatusOr<Answer> dropped = workers[0]->Finish();
      ASSERT_TRUE(dropped.ok()) << dropped.status();
      EXPECT_TRUE(dropped->result.dropped());
      EXPECT_EQ(dropped->update, answer->update);
    }
  }
}

TEST(SeveralRanks, AStepThatCannotBeSolvedLeavesNothingBehind) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    v1::Session options = Shared(n, 2, 2);
    options.mutable_options()->mutable_loss_recorder()->mutable_latest();
    SetMethod("none", &options);
    const std::string name = harness.Create("s", options);
    Oracle oracle(&harness, options, "oracle");
    auto first = harness.Join(name, 0), second = harness.Join(name, 1);
    for (const bool bad : {true, false}) {
      // Loss 2 is active and nobody brings it.
      const auto header = [&](Worker* worker, const Vectors& vectors) {
        v1::StepHeader made = worker->Header(1, vectors);
        if (bad) made.add_active(2);
        return made;
      };
      const Vectors own = GradientsOf(n, 1, 0, {0, 1});
      const Vectors other = GradientsOf(n, 1, 1, {0, 1});
      ASSERT_TRUE(first->Send(header(first.get(), own), own).ok());
      Waiting waiting(first.get());
      ASSERT_TRUE(second->Send(header(second.get(), other), other).ok());
      const absl::StatusOr<Answer> answer = second->Finish();
      const absl::Status same = waiting.Get().status();
      EXPECT_EQ(same, answer.status());
      if (bad) {
        EXPECT_EQ(Reason(answer.status()), "INVALID_OPTION");
        first = nullptr;
        second = nullptr;
        first = harness.Join(name, 0);
        second = harness.Join(name, 1);
      } else {
        ASSERT_TRUE(answer.ok()) << answer.status();
        EXPECT_EQ(answer->update, oracle.Step(1, {{{0, 1}, 1}, {{0, 1}, 1}}));
      }
    }
  }
}

TEST(SeveralRanks, TheirMemoryIsReservedWithTheSession) {
  Harness harness;
  const auto bytes = [&](uint32_t ranks) {
    v1::CreateSessionRequest request;
    *request.mutable_session() = Shared(1024, ranks);
    request.mutable_session()->set_max_vectors_per_step(2);
    return harness.registry.Create(request)->memory_bytes();
  };
  EXPECT_EQ(bytes(3), bytes(1) + 2 * 2 * 1024 * sizeof(float));
}

}  // namespace
}  // namespace concord
