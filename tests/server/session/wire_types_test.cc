// Vectors that travel in 16 bits: a session with them is one in float32 that is
// fed with the widened gradients, and its update is that one's, rounded once.
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/session/checkpoint.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

Vector Rounded(v1::DataType type, const Vector& vector) {
  return FromWire(type, ToWire(type, vector));
}

Vectors Rounded(v1::DataType type, Vectors vectors) {
  for (auto& [index, vector] : vectors) vector = Rounded(type, vector);
  return vectors;
}

// One rank; `type` either way.
v1::Session Options(size_t n, v1::DataType type,
                    const std::string& kind = "pseudo", uint32_t workers = 1) {
  v1::Session session = Harness::Options(n, workers);
  v1::OperatorOptions& options = *session.mutable_options();
  if (kind == "none") options.mutable_momentum()->mutable_none();
  if (kind == "separate") options.mutable_momentum()->mutable_separate();
  if (kind == "columns") options.mutable_combiner()->mutable_trimmed_mean();
  session.set_gradient_type(type);
  session.set_update_type(type);
  return session;
}

Vectors StepVectors(size_t n, uint64_t step) {
  return step < 3 ? Gradients(n, step, {0, 1, 2})
                  : Gradients(n, step, {static_cast<uint32_t>(step % 3)});
}

Answer StepOrDie(Worker* worker, uint64_t step, const Vectors& vectors,
                 size_t chunk_bytes = 3001) {
  absl::Status status =
      worker->Send(worker->Header(step, vectors), vectors, chunk_bytes);
  EXPECT_TRUE(status.ok()) << status;
  absl::StatusOr<Answer> answer = worker->Finish();
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *answer : Answer();
}

std::unique_ptr<Worker> Resume(Harness* harness, uint64_t applied,
                               uint64_t incarnation) {
  v1::Join join = Harness::JoinMessage("sessions/s", 0, incarnation);
  join.set_resume_step(applied);
  auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  return *std::move(worker);
}

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path) {
  auto opened = StateDirectory::Open(path, "boot");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

struct Case {
  v1::DataType type;
  const char* kind;
  bool far;  // On a device that the host cannot see.
};

class WireTypes : public testing::TestWithParam<Case> {
 protected:
  static std::shared_ptr<Kernels> MakeKernels() {
    return GetParam().far ? MakeFarKernels(2) : MakeCpuKernels(2);
  }

  // Updates of a float32 session that is fed with what the 16 bits hold.
  static std::vector<Vector> Expected(size_t n, uint64_t steps) {
    const v1::DataType type = GetParam().type;
    Harness harness;
    const std::string name =
        harness.Create("s", Options(n, v1::FLOAT32, GetParam().kind));
    auto worker = harness.Join(name, 0);
    std::vector<Vector> updates;
    for (uint64_t step = 1; step <= steps; ++step) {
      const Answer answer =
          StepOrDie(worker.get(), step, Rounded(type, StepVectors(n, step)));
      EXPECT_EQ(answer.result.update_type(), v1::FLOAT32);
      updates.push_back(Rounded(type, answer.update));
    }
    return updates;
  }
};

INSTANTIATE_TEST_SUITE_P(Types, WireTypes,
                         testing::Values(Case{v1::BFLOAT16, "pseudo", false},
                                         Case{v1::FLOAT16, "pseudo", false},
                                         Case{v1::BFLOAT16, "separate", false},
                                         Case{v1::BFLOAT16, "none", false},
                                         Case{v1::FLOAT16, "columns", false},
                                         Case{v1::BFLOAT16, "pseudo", true},
                                         Case{v1::FLOAT16, "none", true}),
                         [](const auto& info) {
                           return absl::StrCat(
                               v1::DataType_Name(info.param.type), "_",
                               info.param.kind, info.param.far ? "_far" : "");
                         });

TEST_P(WireTypes, GiveTheBitsOfAFloat32SessionWhateverTheChunks) {
  for (const size_t n : {kSmall, kLarge}) {
    const std::vector<Vector> expected = Expected(n, 4);
    for (const size_t chunk_bytes : {size_t{1}, size_t{3001}, size_t{65'536}}) {
      if (chunk_bytes == 1 && n == kLarge) continue;
      Harness harness(MakeKernels());
      const std::string name =
          harness.Create("s", Options(n, GetParam().type, GetParam().kind));
      auto worker = harness.Join(name, 0);
      EXPECT_EQ(worker->stream().joined().data_type(), v1::FLOAT32);
      EXPECT_EQ(worker->stream().joined().gradient_type(), GetParam().type);
      EXPECT_EQ(worker->stream().joined().update_type(), GetParam().type);
      for (uint64_t step = 1; step <= expected.size(); ++step) {
        const Answer answer =
            StepOrDie(worker.get(), step, StepVectors(n, step), chunk_bytes);
        EXPECT_EQ(answer.result.update_type(), GetParam().type);
        EXPECT_EQ(answer.result.update_length(), n);
        EXPECT_EQ(answer.update, expected[step - 1]) << chunk_bytes;
      }
    }
  }
}

TEST_P(WireTypes, ARetryOfACommittedStepReturnsTheSameBytes) {
  if (GetParam().far) return;
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    const std::string name =
        harness.Create("s", Options(n, GetParam().type, GetParam().kind));
    auto worker = harness.Join(name, 0);
    Answer last;
    for (uint64_t step = 1; step <= 3; ++step) {
      last = StepOrDie(worker.get(), step, StepVectors(n, step));
    }
    // Nobody holds the update any more, so that it is made anew.
    for (uint64_t attempt = 1; attempt <= 2; ++attempt) {
      const auto again = Resume(&harness, 2, 1000 + attempt);
      const Answer answer = StepOrDie(again.get(), 3, {});
      EXPECT_TRUE(answer.result.repeated());
      EXPECT_EQ(answer.update, last.update);
      EXPECT_EQ(answer.trailer.checksum(), last.trailer.checksum());
    }
  }
}

TEST_P(WireTypes, ASessionWhoseStepsAreKeptGoesOnAfterARestart) {
  for (const size_t n : {kSmall, kLarge}) {
    const std::vector<Vector> expected = Expected(n, 5);
    TemporaryDirectory place;
    for (uint64_t step = 1; step <= 5; step += 2) {
      const auto directory = OpenDirectory(place.path());
      Harness harness(directory.get(), nullptr, nullptr, MakeKernels());
      if (step == 1) {
        harness.Create("s", Options(n, GetParam().type, GetParam().kind));
      } else {
        // The committed step once more, to a worker that had not got it.
        const auto behind = Resume(&harness, step - 2, 100 + step);
        EXPECT_EQ(StepOrDie(behind.get(), step - 1, {}).update,
                  expected[step - 2]);
      }
      const auto worker = Resume(&harness, step - 1, 200 + step);
      for (uint64_t s = step; s <= std::min<uint64_t>(step + 1, 5); ++s) {
        EXPECT_EQ(StepOrDie(worker.get(), s, StepVectors(n, s)).update,
                  expected[s - 1]);
      }
    }
  }
}

TEST_P(WireTypes, AreWidenedBeforeSeveralRanksAreAveraged) {
  const v1::DataType type = GetParam().type;
  for (const size_t n : {kSmall, kLarge}) {
    std::vector<std::vector<Vector>> updates;
    for (const bool half : {false, true}) {
      Harness harness(MakeKernels());
      v1::Session options =
          Options(n, half ? type : v1::FLOAT32, GetParam().kind, /*workers=*/2);
      options.set_max_ranks_per_vector(2);
      const std::string name = harness.Create("s", options);
      auto first = harness.Join(name, 0), second = harness.Join(name, 1);
      updates.emplace_back();
      for (uint64_t step = 1; step <= 3; ++step) {
        const Vectors of_first = Rounded(type, Gradients(n, step, {0, 1}));
        const Vectors of_second =
            Rounded(type, Gradients(n, step + 50, {0, 1, 2}));
        ASSERT_TRUE(first->Send(first->Header(step, of_first), of_first).ok());
        ASSERT_TRUE(
            second->Send(second->Header(step, of_second), of_second).ok());
        Waiting waiting(first.get());
        const absl::StatusOr<Answer> answer = second->Finish();
        ASSERT_TRUE(answer.ok()) << answer.status();
        EXPECT_EQ(waiting.Get()->update, answer->update);
        updates.back().push_back(half ? answer->update
                                      : Rounded(type, answer->update));
      }
    }
    EXPECT_EQ(updates[0], updates[1]);
  }
}

TEST_P(WireTypes, AVectorInAnotherTypeIsRefusedByNameAndChangesNothing) {
  const std::vector<Vector> expected = Expected(kSmall, 2);
  Harness harness(MakeKernels());
  const std::string name =
      harness.Create("s", Options(kSmall, GetParam().type, GetParam().kind));
  StepOrDie(harness.Join(name, 0).get(), 1, StepVectors(kSmall, 1));
  for (const v1::DataType other :
       {v1::FLOAT32, v1::FLOAT64, v1::BFLOAT16, v1::FLOAT16}) {
    if (other == GetParam().type) continue;
    const auto worker = Resume(&harness, 1, 20 + other);
    v1::StepHeader header = worker->Header(2, StepVectors(kSmall, 2));
    header.mutable_vectors(1)->set_data_type(other);
    const absl::Status status = worker->Send(header, StepVectors(kSmall, 2));
    const auto detail = GetErrorDetail(status);
    ASSERT_TRUE(detail.has_value()) << status;
    EXPECT_EQ(detail->reason, "DATA_TYPE_MISMATCH");
    EXPECT_EQ(detail->field, "header.vectors[1].data_type");
    EXPECT_EQ(detail->value, v1::DataType_Name(other));
    EXPECT_EQ(detail->accepted, v1::DataType_Name(GetParam().type));
  }
  const auto worker = Resume(&harness, 1, 30);
  EXPECT_EQ(StepOrDie(worker.get(), 2, StepVectors(kSmall, 2)).update,
            expected[1]);
}

TEST_P(WireTypes, ANonFiniteElementIsRefusedAndChangesNothing) {
  const std::vector<Vector> expected = Expected(kSmall, 2);
  Harness harness(MakeKernels());
  const std::string name =
      harness.Create("s", Options(kSmall, GetParam().type, GetParam().kind));
  StepOrDie(harness.Join(name, 0).get(), 1, StepVectors(kSmall, 1));
  uint64_t incarnation = 20;
  // The last one is finite as a float32, and infinite as it travels.
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::max()}) {
    Vectors vectors = StepVectors(kSmall, 2);
    vectors[1][777] = bad;
    const auto worker = Resume(&harness, 1, ++incarnation);
    const absl::Status status =
        worker->Send(worker->Header(2, vectors), vectors);
    EXPECT_EQ(Reason(status), "NON_FINITE") << status;
    EXPECT_NE(status.message().find("777"), std::string::npos) << status;
  }
  const auto worker = Resume(&harness, 1, 30);
  EXPECT_EQ(StepOrDie(worker.get(), 2, StepVectors(kSmall, 2)).update,
            expected[1]);
}

TEST(WireTypesOfASession, AreItsOwnUnlessGiven) {
  Harness harness;
  for (const v1::DataType type : {v1::FLOAT32, v1::FLOAT64}) {
    v1::CreateSessionRequest request;
    *request.mutable_session() = Harness::Options(kSmall);
    request.mutable_session()->set_data_type(type);
    const auto session = harness.registry.Create(request);
    ASSERT_TRUE(session.ok()) << session.status();
    EXPECT_EQ(session->gradient_type(), type);
    EXPECT_EQ(session->update_type(), type);
  }
}

TEST(WireTypesOfASession, AreRefusedByNameWhereTheSessionsTypeForbidsThem) {
  struct Refused {
    v1::DataType data_type, wire_type;
    const char* accepted;
  };
  Harness harness;
  for (const Refused& refused :
       {Refused{v1::FLOAT32, v1::FLOAT64, "BFLOAT16, FLOAT16 or FLOAT32"},
        Refused{v1::FLOAT64, v1::FLOAT32, "FLOAT64, the session's data_type"},
        Refused{v1::FLOAT64, v1::BFLOAT16,
                "FLOAT64, the session's data_type"}}) {
    for (const char* field : {"gradient_type", "update_type"}) {
      v1::CreateSessionRequest request;
      *request.mutable_session() = Harness::Options(kSmall);
      request.mutable_session()->set_data_type(refused.data_type);
      if (field == std::string("gradient_type")) {
        request.mutable_session()->set_gradient_type(refused.wire_type);
      } else {
        request.mutable_session()->set_update_type(refused.wire_type);
      }
      const auto detail =
          GetErrorDetail(harness.registry.Create(request).status());
      ASSERT_TRUE(detail.has_value());
      EXPECT_EQ(detail->reason, "INVALID_OPTION");
      EXPECT_EQ(detail->field, absl::StrCat("session.", field));
      EXPECT_EQ(detail->value, v1::DataType_Name(refused.wire_type));
      EXPECT_EQ(detail->accepted, refused.accepted);
    }
  }
}

TEST(WireTypesOfASession, AreOptionsThatRanksMustAgreeOnAndNobodyChanges) {
  Harness harness;
  harness.Create("s", Options(kSmall, v1::BFLOAT16));
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = Options(kSmall, v1::BFLOAT16);
  request.mutable_session()->set_update_type(v1::FLOAT16);
  const absl::Status exists = harness.registry.Create(request).status();
  EXPECT_EQ(Reason(exists), "SESSION_EXISTS");
  EXPECT_EQ(Metadata(exists, "field"), "update_type");
  EXPECT_EQ(Metadata(exists, "value"), "FLOAT16");
  EXPECT_EQ(Metadata(exists, "existing"), "BFLOAT16");

  v1::UpdateSessionRequest update;
  update.mutable_session()->set_name("sessions/s");
  update.mutable_session()->set_gradient_type(v1::FLOAT32);
  update.mutable_update_mask()->add_paths("gradient_type");
  EXPECT_EQ(Reason(harness.registry.Update(update).status()),
            "IMMUTABLE_OPTION");
}

TEST(WireTypesOfASession, OneDirectionNeedNotFollowTheOther) {
  std::vector<Vector> updates;
  for (const bool half_update : {false, true}) {
    Harness harness;
    v1::Session options = Options(kLarge, v1::FLOAT32);
    options.set_gradient_type(half_update ? v1::FLOAT32 : v1::BFLOAT16);
    options.set_update_type(half_update ? v1::FLOAT16 : v1::FLOAT32);
    auto worker = harness.Join(harness.Create("s", options), 0);
    updates.push_back(StepOrDie(worker.get(), 1,
                                Rounded(v1::BFLOAT16, StepVectors(kLarge, 1)))
                          .update);
  }
  EXPECT_EQ(Rounded(v1::FLOAT16, updates[0]), updates[1]);
}

TEST(WireTypesOfASession, AnUpdateBeyondFloat16sRangeIsInfiniteOnTheWireAlone) {
  std::vector<Vector> updates;
  for (const v1::DataType type : {v1::FLOAT32, v1::FLOAT16}) {
    Harness harness;
    v1::Session options = Options(kSmall, v1::FLOAT32);
    options.mutable_options()->mutable_combiner()->mutable_sum();
    options.mutable_options()->mutable_momentum()->mutable_separate();
    options.set_update_type(type);
    auto worker = harness.Join(harness.Create("s", options), 0);
    for (uint64_t step = 1; step <= 2; ++step) {
      updates.push_back(
          StepOrDie(worker.get(), step, StepVectors(kSmall, step)).update);
    }
  }
  EXPECT_EQ(Rounded(v1::FLOAT16, updates[1]), updates[3]);

  Harness harness;
  v1::Session options = Options(kSmall, v1::FLOAT32, "none");
  options.mutable_options()->mutable_combiner()->mutable_sum();
  options.set_update_type(v1::FLOAT16);
  auto worker = harness.Join(harness.Create("s", options), 0);
  Vectors large = StepVectors(kSmall, 1);
  for (auto& [index, vector] : large) vector[5] = -65000;
  const Answer infinite = StepOrDie(worker.get(), 1, large);
  EXPECT_EQ(infinite.update[5], -std::numeric_limits<float>::infinity());
  const Answer next = StepOrDie(worker.get(), 2, Gradients(kSmall, 2, {1}));
  EXPECT_EQ(next.update, Rounded(v1::FLOAT16, Gradient(kSmall, 2, 1)));
}

TEST(WireTypesOfASession, ACheckpointGoesOnUnderOtherTypes) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  harness.Create("a", Options(kSmall, v1::FLOAT32));
  auto worker = harness.Join("sessions/a", 0);
  const Answer answer = StepOrDie(worker.get(), 1, StepVectors(kSmall, 1));
  v1::CreateCheckpointRequest take;
  take.set_session("sessions/a");
  const auto checkpoint = harness.registry.CreateCheckpoint(take);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = Options(kSmall, v1::BFLOAT16);
  request.set_restore_from(checkpoint->name());
  const auto restored = harness.registry.Create(request);
  ASSERT_TRUE(restored.ok()) << restored.status();
  const auto behind = Resume(&harness, 0, 7);
  const Answer again = StepOrDie(behind.get(), 1, {});
  EXPECT_EQ(again.result.update_type(), v1::BFLOAT16);
  EXPECT_EQ(again.update, Rounded(v1::BFLOAT16, answer.update));
}

}  // namespace
}  // namespace concord
