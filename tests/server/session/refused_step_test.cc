// A refused or broken contribution changes nothing: the next good step gives
// bit for bit what an undisturbed twin gives.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

struct Case {
  std::string name;
  std::string reason;
  std::string field;  // A part of it; empty: not looked at.
  absl::StatusCode code;
  // What the worker does wrong in step 2, as far as the error.
  std::function<absl::Status(Worker*)> run;
};

absl::Status BeginWith(Worker* worker,
                       const std::function<void(v1::StepHeader*)>& change) {
  v1::StepHeader header = worker->Header(2, Gradients(kSmall, 77, {0, 1}));
  change(&header);
  return worker->stream().Begin(header);
}

absl::Status AppendAt(Worker* worker, ChunkPosition position) {
  const Vectors vectors = Gradients(kSmall, 77, {0, 1});
  absl::Status status = worker->stream().Begin(worker->Header(2, vectors));
  if (!status.ok()) return status;
  const std::vector<std::byte> bytes(5 << 20);
  const absl::Span<const std::byte> first[] = {
      absl::MakeConstSpan(bytes).first(100)};
  status = worker->stream().Append({0, 0, 100}, first);
  if (!status.ok()) return status;
  const absl::Span<const std::byte> next[] = {
      absl::MakeConstSpan(bytes).first(position.size)};
  return worker->stream().Append(position, next);
}

absl::Status SendElement(Worker* worker, float element) {
  Vectors vectors = Gradients(kSmall, 77, {0, 1});
  vectors[1][700] = element;
  return worker->Send(worker->Header(2, vectors), vectors);
}

std::vector<Case> Cases() {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  const auto begin = [](std::function<void(v1::StepHeader*)> change) {
    return [change](Worker* w) { return BeginWith(w, change); };
  };
  const auto at = [](ChunkPosition position) {
    return [position](Worker* w) { return AppendAt(w, position); };
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  return {
      {"WrongLength", "LENGTH_MISMATCH", "header.vectors[1].length", kInvalid,
       begin([](auto* h) { h->mutable_vectors(1)->set_length(999); })},
      {"WrongDataType", "DATA_TYPE_MISMATCH", "header.vectors[0].data_type",
       kInvalid, begin([](auto* h) {
         h->mutable_vectors(0)->set_data_type(v1::FLOAT64);
       })},
      {"IndexOutOfRange", "INDEX_OUT_OF_RANGE", "header.vectors[0].index",
       kInvalid, begin([](auto* h) { h->mutable_vectors(0)->set_index(3); })},
      {"DuplicateIndex", "DUPLICATE_INDEX", "header.vectors[1].index", kInvalid,
       begin([](auto* h) { h->mutable_vectors(1)->set_index(0); })},
      {"SampleWeight", "NON_FINITE", "header.vectors[0].sample_weight",
       kInvalid, begin([](auto* h) {
         h->mutable_vectors(0)->set_sample_weight(std::nan(""));
       })},
      {"Stripe", "INVALID_OPTION", "header.vectors[0].stripe", kInvalid,
       begin([](auto* h) { h->mutable_vectors(0)->set_stripe(1); })},
      {"LossesWithoutRecorder", "LOSSES_WITHOUT_RECORDER", "header.losses",
       kInvalid, begin([](auto* h) { h->add_losses()->set_value(1); })},
      {"Layout", "LAYOUT_MISMATCH", "header.layout_hash", kPrecondition,
       begin([](auto* h) { h->set_layout_hash(17); })},
      {"Epoch", "EPOCH_CHANGED", "header.epoch", kPrecondition,
       begin([](auto* h) { h->set_epoch(2); })},
      {"Attempt", "PROTOCOL_VIOLATION", "header.attempt", kInvalid,
       begin([](auto* h) { h->set_attempt(0); })},
      {"Gap", "CHUNK_MISPLACED", "chunk.offset", kInvalid, at({0, 104, 8})},
      {"Overlap", "CHUNK_MISPLACED", "chunk.offset", kInvalid, at({0, 96, 8})},
      {"AnotherVectorsTurn", "CHUNK_MISPLACED", "chunk.vector", kInvalid,
       at({1, 0, 8})},
      {"BeyondTheVector", "CHUNK_TOO_LARGE", "chunk.data", kInvalid,
       at({0, 100, 4000})},
      {"BeyondTheLimit", "CHUNK_TOO_LARGE", "chunk.data", kInvalid,
       at({0, 100, (4 << 20) - (64 << 10) + 1})},
      {"NaN", "NON_FINITE", "vector 1[700]", kInvalid,
       [](Worker* w) { return SendElement(w, std::nanf("")); }},
      {"Inf", "NON_FINITE", "vector 1[700]", kInvalid,
       [=](Worker* w) { return SendElement(w, -kInf); }},
      {"FinishInTheMiddle", "PROTOCOL_VIOLATION", "chunk.vector", kInvalid,
       [](Worker* w) {
         const Vectors vectors = Gradients(kSmall, 77, {0});
         const absl::Status status = w->stream().Begin(w->Header(2, vectors));
         return status.ok() ? w->Finish().status() : status;
       }},
      {"HeaderInTheMiddle", "PROTOCOL_VIOLATION", "header", kInvalid,
       [](Worker* w) {
         const v1::StepHeader header = w->Header(2, Gradients(kSmall, 77, {0}));
         const absl::Status status = w->stream().Begin(header);
         return status.ok() ? w->stream().Begin(header) : status;
       }},
  };
}

class RefusedStep : public testing::TestWithParam<Case> {};

TEST_P(RefusedStep, ChangesNothing) {
  const Case& test = GetParam();
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  harness.StepAll(&workers, 1);
  harness.StepAll(&twins, 1);

  const absl::Status status = test.run(workers[0].get());
  EXPECT_EQ(status.code(), test.code) << status;
  EXPECT_EQ(Reason(status), test.reason) << status;
  EXPECT_EQ(GetErrorDetail(status)->field, test.field);
  EXPECT_FALSE(GetErrorDetail(status)->value.empty());
  EXPECT_FALSE(GetErrorDetail(status)->accepted.empty());

  // The round is open for others, and the rank comes again.
  workers[0] = nullptr;
  workers[0] = harness.Join("sessions/s", 0);
  for (uint64_t step = 2; step <= 3; ++step) {
    EXPECT_EQ(harness.StepAll(&workers, step).update,
              harness.StepAll(&twins, step).update);
  }
}

INSTANTIATE_TEST_SUITE_P(Session, RefusedStep, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name;
                         });

TEST(RefusedContribution, LeavesTheRoundOpenForTheOthers) {
  Harness harness;
  auto workers = harness.JoinAll(harness.Create("s", harness.Options(kSmall)));
  auto twins = harness.JoinAll(harness.Create("twin", harness.Options(kSmall)));
  const Vectors own = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, own), own).ok());
  Waiting first(workers[0].get());
  // Rank 1: NaN in its last element; rank 2: cut in the middle.
  Vectors bad = Gradients(kSmall, 1, {1});
  bad[1].back() = std::nanf("");
  const absl::Status status = workers[1]->Send(workers[1]->Header(1, bad), bad);
  EXPECT_EQ(Reason(status), "NON_FINITE");
  EXPECT_EQ(Metadata(status, "element"), "999");
  workers[1] = harness.Join("sessions/s", 1);
  const Vectors cut = Gradients(kSmall, 55, {2});
  ASSERT_TRUE(workers[2]->stream().Begin(workers[2]->Header(1, cut)).ok());
  workers[2] = nullptr;
  workers[2] = harness.Join("sessions/s", 2);

  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, second), second).ok());
  Waiting also(workers[1].get());
  const absl::StatusOr<Answer> answer =
      workers[2]->Step(1, Gradients(kSmall, 1, {2}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(first.Get()->update, answer->update);
  EXPECT_EQ(also.Get()->update, answer->update);
  EXPECT_EQ(harness.StepAll(&twins, 1).update, answer->update);
}

TEST(RefusedContribution, ALossThatAnotherRankBroughtNamesThatRank) {
  Harness harness;
  v1::Session options = harness.Options(kSmall);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  const std::string name = harness.Create("s", options);
  auto workers = harness.JoinAll(name);
  const Vectors own = Gradients(kSmall, 1, {1});
  v1::StepHeader header = workers[2]->Header(1, own);
  header.add_losses()->set_index(1);
  ASSERT_TRUE(workers[2]->Send(header, own).ok());
  Waiting waiting(workers[2].get());
  const absl::Status status = workers[0]->stream().Begin(
      workers[0]->Header(1, Gradients(kSmall, 1, {0, 1})));
  EXPECT_EQ(Reason(status), "DUPLICATE_INDEX");
  EXPECT_EQ(Metadata(status, "rank"), "2");
  EXPECT_EQ(GetErrorDetail(status)->field, "header.vectors[1].index");
  waiting.Cancel();
}

TEST(RefusedContribution, TooManyVectorsInOneStep) {
  Harness harness;
  v1::Session options = harness.Options(kSmall, 2);
  options.set_max_vectors_per_step(2);
  const std::string name = harness.Create("s", options);
  auto first = harness.Join(name, 0);
  auto second = harness.Join(name, 1);
  EXPECT_EQ(Reason(first->stream().Begin(
                first->Header(1, Gradients(kSmall, 1, {0, 1, 2})))),
            "TOO_MANY_VECTORS");
  const Vectors one = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(first->Send(first->Header(1, one), one).ok());
  Waiting waiting(first.get());
  EXPECT_EQ(Reason(second->stream().Begin(
                second->Header(1, Gradients(kSmall, 1, {1, 2})))),
            "TOO_MANY_VECTORS");
  const absl::StatusOr<Answer> answer =
      second->Step(1, Gradients(kSmall, 1, {2}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(waiting.Get()->update, answer->update);
}

TEST(RefusedContribution, ALossThatIsNotFiniteIsNamed) {
  Harness harness;
  v1::Session options = harness.Options(kSmall, 1);
  options.mutable_options()->mutable_loss_recorder()->mutable_latest();
  const auto worker = harness.Join(harness.Create("s", options), 0);
  v1::StepHeader header = worker->Header(1, Gradients(kSmall, 1, {0, 1, 2}));
  header.add_losses()->set_value(1);
  v1::LossValue* loss = header.add_losses();
  loss->set_index(1);
  loss->set_value(std::nan(""));
  const absl::Status status = worker->stream().Begin(header);
  EXPECT_EQ(Reason(status), "NON_FINITE");
  EXPECT_EQ(GetErrorDetail(status)->field, "header.losses[1].value");
}

}  // namespace
}  // namespace concord
