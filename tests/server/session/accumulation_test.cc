// Micro-batches: several headers of one step, summed in their order, mean what
// one contribution with the sums does.
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

v1::Session Options(size_t n, uint32_t ranks_per_vector, uint32_t workers = 2) {
  v1::Session options = Harness::Options(n, workers);
  options.set_max_ranks_per_vector(ranks_per_vector);
  return options;
}

v1::StepHeader Header(Worker* worker, uint64_t step, const Vectors& vectors,
                      uint32_t micro_batch, bool last) {
  v1::StepHeader header = worker->Header(step, vectors);
  header.mutable_accumulation()->set_micro_batch(micro_batch);
  header.mutable_accumulation()->set_last(last);
  return header;
}

Vectors Micro(size_t n, uint64_t step, uint32_t micro_batch,
              const std::vector<uint32_t>& indexes) {
  Vectors vectors;
  for (const uint32_t index : indexes) {
    vectors[index] = RandomVector(
        n, static_cast<int>(step * 1000 + micro_batch * 10 + index));
  }
  return vectors;
}

void AddTo(Vectors* sums, const Vectors& vectors) {
  for (const auto& [index, vector] : vectors) {
    const auto [sum, is_new] = sums->emplace(index, vector);
    if (is_new) continue;
    for (size_t e = 0; e < vector.size(); ++e) sum->second[e] += vector[e];
  }
}

TEST(Accumulation, IsBitForBitOneContributionWithTheSums) {
  const std::vector<std::vector<uint32_t>> batches = {
      {0, 1}, {}, {1, 0}, {1, 2}, {0}};
  for (const size_t n : {kSmall, kLarge}) {
    for (const uint32_t ranks : {1, 2}) {
      for (const bool momentum : {true, false}) {
        Harness harness;
        v1::Session options = Options(n, ranks);
        if (!momentum) {
          options.mutable_options()->mutable_momentum()->mutable_none();
        }
        const std::string name = harness.Create("s", options);
        const std::string twin_name = harness.Create("twin", options);
        auto worker = harness.Join(name, 0), other = harness.Join(name, 1);
        auto twin = harness.Join(twin_name, 0),
             twin_other = harness.Join(twin_name, 1);
        for (uint64_t step = 1; step <= 2; ++step) {
          Vectors sums;
          for (uint32_t b = 0; b < batches.size(); ++b) {
            const Vectors vectors = Micro(n, step, b, batches[b]);
            AddTo(&sums, vectors);
            const bool last = b + 1 == batches.size();
            const absl::Status sent = worker->Send(
                Header(worker.get(), step, vectors, b, last), vectors, 2003);
            ASSERT_TRUE(sent.ok()) << sent;
            ASSERT_TRUE(worker->stream().complete());
            EXPECT_EQ(worker->stream().awaits_micro_batch(), !last);
          }
          Waiting waiting(worker.get());
          // With two ranks for a loss, the other one brings some of it too.
          const Vectors own =
              ranks == 2 ? Gradients(n, step, {0, 2}) : Vectors();
          const absl::StatusOr<Answer> answer = other->Step(step, own);
          ASSERT_TRUE(answer.ok()) << answer.status();
          EXPECT_EQ(waiting.Get()->update, answer->update);

          ASSERT_TRUE(twin->Send(twin->Header(step, sums), sums).ok());
          Waiting twin_waiting(twin.get());
          const absl::StatusOr<Answer> expected = twin_other->Step(step, own);
          ASSERT_TRUE(expected.ok()) << expected.status();
          EXPECT_EQ(answer->update, expected->update) << n << ranks << step;
          EXPECT_EQ(answer->result.contributors(0).losses_size(), 3);
          EXPECT_TRUE(twin_waiting.Get().ok());
        }
      }
    }
  }
}

TEST(Accumulation, LossValuesAndWeightsAreThoseOfTheLastMicroBatch) {
  Harness harness;
  v1::Session options = Options(kSmall, 2);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  options.mutable_options()->mutable_momentum()->mutable_none();
  const std::string name = harness.Create("s", options);
  auto worker = harness.Join(name, 0), other = harness.Join(name, 1);
  Vectors sums;
  for (uint32_t b = 0; b < 2; ++b) {
    const Vectors vectors = Micro(kSmall, 1, b, {0});
    AddTo(&sums, vectors);
    v1::StepHeader header = Header(worker.get(), 1, vectors, b, b == 1);
    header.mutable_vectors(0)->set_sample_weight(b == 0 ? 100 : 3);
    v1::LossValue* loss = header.add_losses();
    loss->set_index(0);
    loss->set_value(b == 0 ? 7 : 5);
    ASSERT_TRUE(worker->Send(header, vectors).ok());
  }
  Waiting waiting(worker.get());
  const Vectors own = Gradients(kSmall, 1, {0});
  const absl::StatusOr<Answer> answer = other->Step(1, own);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->result.losses(0), 5);
  EXPECT_TRUE(waiting.Get().ok());
  Vectors mean = own;
  for (size_t e = 0; e < kSmall; ++e) {
    mean[0][e] = static_cast<float>(.75 * sums[0][e] + .25 * own.at(0)[e]);
  }
  options.set_num_workers(1);
  options.set_max_ranks_per_vector(1);
  const auto oracle = harness.Join(harness.Create("oracle", options), 0);
  EXPECT_EQ(oracle->Step(1, mean)->update, answer->update);
}

TEST(Accumulation, MicroBatchesComeInTurn) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall, 1, 1));
  const std::string twin_name = harness.Create("twin", Options(kSmall, 1, 1));
  const Vectors vectors = Gradients(kSmall, 77, {0, 1});
  const auto refused = [&](const v1::StepHeader& header, uint32_t begun) {
    auto worker = harness.Join(name, 0);
    for (uint32_t b = 0; b < begun; ++b) {
      EXPECT_TRUE(
          worker->Send(Header(worker.get(), 1, vectors, b, false), vectors)
              .ok());
    }
    const absl::Status status = worker->stream().Begin(header);
    EXPECT_EQ(Reason(status), "PROTOCOL_VIOLATION");
    return GetErrorDetail(status).value_or(ErrorDetail{}).field;
  };
  const auto probe = harness.Join(name, 0);
  const std::string turn = "header.accumulation.micro_batch";
  EXPECT_EQ(refused(Header(probe.get(), 1, vectors, 1, false), 0), turn);
  EXPECT_EQ(refused(Header(probe.get(), 1, vectors, 0, false), 1), turn);
  EXPECT_EQ(refused(Header(probe.get(), 1, vectors, 2, true), 1), turn);
  EXPECT_EQ(refused(probe->Header(1, vectors), 2), turn);
  EXPECT_EQ(refused(Header(probe.get(), 2, vectors, 1, true), 1),
            "header.step");
  // Nothing of all that was kept.
  auto worker = harness.Join(name, 0);
  EXPECT_EQ(Reason(worker->Finish().status()), "PROTOCOL_VIOLATION");
  ASSERT_TRUE(
      worker->Send(Header(worker.get(), 1, vectors, 0, false), vectors).ok());
  EXPECT_EQ(Reason(worker->Finish().status()), "PROTOCOL_VIOLATION");
  worker = nullptr;
  worker = harness.Join(name, 0);
  const auto twin = harness.Join(twin_name, 0);
  const Vectors good = Gradients(kSmall, 1, {0, 1, 2});
  EXPECT_EQ(worker->Step(1, good)->update, twin->Step(1, good)->update);
}

TEST(Accumulation, ACutStreamDropsAllOfIt) {
  for (const uint32_t ranks : {1, 2}) {
    Harness harness;
    const std::string name = harness.Create("s", Options(kSmall, ranks));
    const std::string twin_name = harness.Create("twin", Options(kSmall, 1, 1));
    auto worker = harness.Join(name, 0), other = harness.Join(name, 1);
    const Vectors wrong = Gradients(kSmall, 77, {0, 1});
    for (uint32_t b = 0; b < 2; ++b) {
      ASSERT_TRUE(
          worker->Send(Header(worker.get(), 1, wrong, b, false), wrong).ok());
    }
    worker = nullptr;
    worker = harness.Join(name, 0);
    const Vectors first = Micro(kSmall, 1, 0, {0, 1}),
                  second = Micro(kSmall, 1, 1, {0, 1});
    v1::StepHeader header = Header(worker.get(), 1, first, 0, false);
    header.set_attempt(2);
    ASSERT_TRUE(worker->Send(header, first).ok());
    header = Header(worker.get(), 1, second, 1, true);
    header.set_attempt(2);
    ASSERT_TRUE(worker->Send(header, second).ok());
    Waiting waiting(worker.get());
    const Vectors third = Gradients(kSmall, 1, {2});
    const absl::StatusOr<Answer> answer = other->Step(1, third);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(waiting.Get().ok());
    Vectors sums = third;
    AddTo(&sums, first);
    AddTo(&sums, second);
    const auto twin = harness.Join(twin_name, 0);
    EXPECT_EQ(twin->Step(1, sums)->update, answer->update);
  }
}

TEST(Accumulation, ASumThatOverflowsIsRefused) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall, 1, 1));
  auto worker = harness.Join(name, 0);
  Vectors huge = Gradients(kSmall, 1, {0});
  huge[0][10] = std::numeric_limits<float>::max();
  ASSERT_TRUE(worker->Send(Header(worker.get(), 1, huge, 0, false), huge).ok());
  const absl::Status status =
      worker->Send(Header(worker.get(), 1, huge, 1, true), huge);
  EXPECT_EQ(Reason(status), "NON_FINITE");
  EXPECT_EQ(Metadata(status, "element"), "10");
}

TEST(Accumulation, OfACommittedStepIsReadAndAnsweredAfterTheLast) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall, 1, 1));
  auto worker = harness.Join(name, 0);
  const Vector update =
      worker->Step(1, Gradients(kSmall, 1, {0, 1, 2}))->update;
  const Vectors vectors = Gradients(kSmall, 77, {0, 1});
  for (uint32_t b = 0; b < 3; ++b) {
    ASSERT_TRUE(
        worker->Send(Header(worker.get(), 1, vectors, b, b == 2), vectors)
            .ok());
  }
  const absl::StatusOr<Answer> answer = worker->Finish();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update, update);
  EXPECT_TRUE(answer->result.repeated());
}

TEST(Accumulation, AStragglerBetweenMicroBatchesIsDropped) {
  Harness harness;
  v1::Session options = Options(kSmall, 1);
  options.set_min_workers(1);
  options.mutable_straggler_timeout()->set_seconds(1);
  const std::string name = harness.Create("s", options);
  auto worker = harness.Join(name, 0), other = harness.Join(name, 1);
  const Vectors vectors = Gradients(kSmall, 77, {0});
  ASSERT_TRUE(
      worker->Send(Header(worker.get(), 1, vectors, 0, false), vectors).ok());
  const Vectors own = Gradients(kSmall, 1, {1, 2});
  ASSERT_TRUE(other->Send(other->Header(1, own), own).ok());
  Waiting waiting(other.get());
  harness.clock.Advance(absl::Seconds(1));
  const absl::StatusOr<Answer> answer = waiting.Get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_TRUE(
      worker->Send(Header(worker.get(), 1, vectors, 1, true), vectors).ok());
  const absl::StatusOr<Answer> late = worker->Finish();
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_TRUE(late->result.dropped());
  EXPECT_EQ(late->update, answer->update);
}

TEST(Accumulation, TakesItsMemoryFromTheBudgetOnFirstUse) {
  Limits limits;
  const auto reserved = [](const Harness& harness) {
    v1::ServerInfo info;
    harness.registry.Describe(&info);
    return info.memory_reserved_bytes();
  };
  uint64_t session_bytes = 0;
  {
    Harness harness(limits);
    harness.Create("s", Options(1024, 1, 1));
    session_bytes = reserved(harness);
  }
  limits.memory_budget_bytes = session_bytes + 2 * 1024 * sizeof(float);
  Harness harness(limits);
  const std::string name = harness.Create("s", Options(1024, 1, 1));
  auto worker = harness.Join(name, 0);
  const Vectors three = Gradients(1024, 1, {0, 1, 2});
  const absl::Status status =
      worker->stream().Begin(Header(worker.get(), 1, three, 0, true));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Reason(status), "LIMIT_EXCEEDED");
  EXPECT_EQ(reserved(harness), session_bytes);
  for (uint64_t step = 1; step <= 3; ++step) {
    worker = nullptr;
    worker = harness.Join(name, 0);
    const Vectors two = Gradients(1024, step, {0, 1});
    ASSERT_TRUE(
        worker->Send(Header(worker.get(), step, two, 0, true), two).ok());
    ASSERT_TRUE(worker->Finish().ok());
    EXPECT_EQ(reserved(harness), limits.memory_budget_bytes);
  }
  EXPECT_EQ((*harness.registry.Get(name))->Describe().memory_bytes(),
            limits.memory_budget_bytes);
}

}  // namespace
}  // namespace concord
