// Another layout for a session: what stays, who is told, and what an error or a
// death in between leaves.
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/momentum/layout.h"
#include "proto/options/layout.h"
#include "server/session/checkpoint.h"
#include "server/storage/state_directory.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

namespace fs = std::filesystem;

// "trunk:600 head:400"
using Sizes = std::vector<std::pair<std::string, uint64_t>>;

v1::Layout LayoutOf(const Sizes& sizes) {
  v1::Layout layout;
  for (const auto& [name, size] : sizes) {
    v1::Layout::Segment* const segment = layout.add_segments();
    segment->set_name(name);
    segment->add_shape(size);
  }
  return layout;
}

const Sizes kWhole = {{"trunk", 600}, {"head", 400}};
const Sizes kHalf = {{"trunk", 600}};
const Sizes kTurned = {{"head", 400}, {"trunk", 600}};
const Sizes kGrown = {{"trunk", 600}, {"adapter", 50}, {"head", 400}};

size_t Length(const Sizes& sizes) {
  return NumParameters(ToSegments(LayoutOf(sizes)));
}

v1::Session Options(const Sizes& sizes, const std::string& kind = "pseudo",
                    uint32_t workers = 1) {
  v1::Session session = Harness::Options(Length(sizes), workers);
  v1::OperatorOptions& options = *session.mutable_options();
  if (kind == "none") options.mutable_momentum()->mutable_none();
  if (kind == "separate") options.mutable_momentum()->mutable_separate();
  if (kind == "columns") options.mutable_combiner()->mutable_trimmed_mean();
  if (kind == "half") {
    session.set_gradient_type(v1::BFLOAT16);
    session.set_update_type(v1::FLOAT16);
  }
  *session.mutable_layout() = LayoutOf(sizes);
  return session;
}

v1::UpdateLayoutRequest Request(const Sizes& sizes) {
  v1::UpdateLayoutRequest request;
  request.set_name("sessions/s");
  *request.mutable_layout() = LayoutOf(sizes);
  return request;
}

std::unique_ptr<Worker> Resume(Harness* harness, uint64_t applied,
                               uint64_t incarnation, uint32_t rank = 0) {
  v1::Join join = Harness::JoinMessage("sessions/s", rank, incarnation);
  join.set_resume_step(applied);
  auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  return *std::move(worker);
}

Answer StepAt(Worker* worker, uint64_t step) {
  const size_t n = worker->stream().joined().num_parameters();
  const auto answer = worker->Step(
      step, step < 3 ? Gradients(n, step, {0, 1, 2})
                     : Gradients(n, step, {static_cast<uint32_t>(step % 3)}));
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *answer : Answer();
}

// Momenta and second momenta as they are exported, by name.
std::map<std::string, Vector> Vectors32(Harness* harness) {
  v1::ExportSessionRequest request;
  request.set_name("sessions/s");
  auto snapshot = harness->registry.Snapshot(request);
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  std::string file;
  EXPECT_TRUE(
      WriteSnapshot(*std::move(snapshot), [&](absl::Span<const std::byte>
                                                  bytes) {
        file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return absl::OkStatus();
      }).ok());
  const auto stored = ReadCheckpoint(AsBytes(file), "exported");
  EXPECT_TRUE(stored.ok()) << stored.status();
  std::map<std::string, Vector> vectors;
  for (size_t i = 0; i < stored->names.size(); ++i) {
    vectors[stored->names[i]] = FromWire(v1::FLOAT32, stored->vectors[i]);
  }
  return vectors;
}

Vector Part(const Vector& vector, size_t begin, size_t end) {
  return {vector.begin() + begin, vector.begin() + end};
}

struct Case {
  const char* kind;
  bool far;
};

class UpdateLayout : public testing::TestWithParam<Case> {
 protected:
  static std::shared_ptr<Kernels> MakeKernels() {
    return GetParam().far ? MakeFarKernels(2) : MakeCpuKernels(2);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Operators, UpdateLayout,
    testing::Values(Case{"pseudo", false}, Case{"separate", false},
                    Case{"none", false}, Case{"columns", false},
                    Case{"half", false}, Case{"pseudo", true},
                    Case{"separate", true}),
    [](const auto& info) {
      return absl::StrCat(info.param.kind, info.param.far ? "_far" : "");
    });

TEST_P(UpdateLayout, KeepsTheBitsOfWhatStaysThroughFreezingAndUnfreezing) {
  for (const bool durable : {false, true}) {
    TemporaryDirectory place;
    auto opened = StateDirectory::Open(place.path(), "boot");
    ASSERT_TRUE(opened.ok());
    Harness harness(opened->get(), nullptr, nullptr, MakeKernels());
    v1::Session options = Options(kWhole, GetParam().kind);
    options.set_durability(durable ? v1::DURABILITY_STEP : v1::DURABILITY_NONE);
    harness.Create("s", options);
    auto worker = Resume(&harness, 0, 1);
    for (uint64_t step = 1; step <= 20; ++step) StepAt(worker.get(), step);
    const auto at_20 = Vectors32(&harness);
    const uint64_t before =
        (*harness.registry.Get("sessions/s"))->Describe().memory_bytes();

    auto frozen = harness.registry.UpdateLayout(Request(kHalf));
    ASSERT_TRUE(frozen.ok()) << frozen.status();
    EXPECT_EQ(frozen->epoch(), 2);
    EXPECT_EQ(frozen->committed_step(), 20);
    EXPECT_EQ(frozen->num_parameters(), 600);
    EXPECT_LT(frozen->memory_bytes(), before);
    const auto half = Vectors32(&harness);
    ASSERT_EQ(half.size(), at_20.size());
    for (const auto& [name, vector] : at_20) {
      EXPECT_EQ(half.at(name), Part(vector, 0, 600)) << name;
    }
    worker = Resume(&harness, 20, 1);
    for (uint64_t step = 21; step <= 40; ++step) StepAt(worker.get(), step);
    const auto at_40 = Vectors32(&harness);

    const auto whole = harness.registry.UpdateLayout(Request(kTurned));
    ASSERT_TRUE(whole.ok()) << whole.status();
    EXPECT_EQ(whole->epoch(), 3);
    for (const auto& [name, vector] : Vectors32(&harness)) {
      EXPECT_EQ(Part(vector, 0, 400), Vector(400, 0)) << name;
      EXPECT_EQ(Part(vector, 400, 1000), at_40.at(name)) << name;
    }
    worker = Resume(&harness, 40, 1);
    EXPECT_EQ(StepAt(worker.get(), 41).update.size(), 1000);
    EXPECT_EQ(
        (*harness.registry.Get("sessions/s"))->Describe().committed_step(), 41);
  }
}

TEST_P(UpdateLayout, TheNextStepsAreThoseOfASessionThatWasGivenThatState) {
  Harness harness(MakeKernels());
  harness.Create("s", Options(kWhole, GetParam().kind));
  auto worker = Resume(&harness, 0, 1);
  for (uint64_t step = 1; step <= 5; ++step) StepAt(worker.get(), step);
  // To there and back: the same vectors, so the same bits, also of the Gram
  // matrix, as if nothing had happened to the trunk.
  Harness undisturbed(MakeKernels());
  undisturbed.Create("s", Options(kWhole, GetParam().kind));
  auto twin = Resume(&undisturbed, 0, 1);
  for (uint64_t step = 1; step <= 5; ++step) StepAt(twin.get(), step);
  ASSERT_TRUE(harness.registry.UpdateLayout(Request(kGrown)).ok());
  ASSERT_TRUE(harness.registry.UpdateLayout(Request(kWhole)).ok());
  worker = Resume(&harness, 5, 1);
  for (uint64_t step = 6; step <= 9; ++step) {
    const Answer found = StepAt(worker.get(), step);
    const Answer expected = StepAt(twin.get(), step);
    EXPECT_EQ(found.update, expected.update) << step;
    EXPECT_EQ(found.result.gram().SerializeAsString(),
              expected.result.gram().SerializeAsString());
  }
}

TEST(LayoutOfASession, ARankThatDoesNotKnowIsTurnedAwayByItsEpoch) {
  Harness harness;
  harness.Create("s", Options(kWhole, "pseudo", 2));
  auto first = harness.Join("sessions/s", 0, 1);
  auto second = harness.Join("sessions/s", 1, 2);
  ASSERT_TRUE(first->Send(first->Header(1, {}), {}).ok());
  {
    Waiting waiting(first.get());
    ASSERT_TRUE(second->Step(1, Gradients(1000, 1, {0, 1, 2})).ok());
    ASSERT_TRUE(waiting.Get().ok());
  }
  // One of them is in the next round already.
  ASSERT_TRUE(first
                  ->Send(first->Header(2, Gradients(1000, 2, {0})),
                         Gradients(1000, 2, {0}))
                  .ok());
  Waiting waiting(first.get());
  const auto changed = harness.registry.UpdateLayout(Request(kHalf));
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(Reason(waiting.Get().status()), "EPOCH_CHANGED");
  EXPECT_TRUE(second->cancelled());
  v1::Join join = Harness::JoinMessage("sessions/s", 1, 2);
  join.set_epoch(1);
  join.set_resume_step(1);
  const auto refused = Worker::Join(&harness.registry, join);
  EXPECT_EQ(Reason(refused.status()), "EPOCH_CHANGED");
  // An old process of the rank is still known, and step 1's update gone: it
  // had another length.
  auto knows = Resume(&harness, 1, 2, 1);
  EXPECT_EQ(knows->stream().joined().layout_hash(),
            LayoutHash(LayoutOf(kHalf)));
  EXPECT_EQ(Reason(knows->Step(1, {}).status()), "RESYNC_WEIGHTS");
}

TEST(LayoutOfASession, EveryRankMayAskForTheSameAndTheFirstChangesIt) {
  Harness harness;
  harness.Create("s", Options(kWhole));
  auto worker = harness.Join("sessions/s", 0, 1);
  StepAt(worker.get(), 1);
  ASSERT_TRUE(harness.registry.UpdateLayout(Request(kGrown)).ok());
  worker = Resume(&harness, 1, 1);
  StepAt(worker.get(), 2);
  const auto again = harness.registry.UpdateLayout(Request(kGrown));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->epoch(), 2);
  EXPECT_FALSE(worker->cancelled());
  StepAt(worker.get(), 3);
}

TEST(LayoutOfASession, OneThatWasMadeWithoutIsToldTheOldOne) {
  Harness harness;
  v1::Session options = Options(kWhole);
  options.clear_layout();
  harness.Create("s", options);
  auto worker = harness.Join("sessions/s", 0, 1);
  StepAt(worker.get(), 1);
  v1::UpdateLayoutRequest request = Request(kHalf);
  const absl::Status unknown = harness.registry.UpdateLayout(request).status();
  EXPECT_EQ(Reason(unknown), "INVALID_OPTION");
  *request.mutable_previous() = LayoutOf(kHalf);
  const absl::Status shorter = harness.registry.UpdateLayout(request).status();
  EXPECT_EQ(Reason(shorter), "INVALID_OPTION");
  *request.mutable_previous() = LayoutOf(kWhole);
  const auto changed = harness.registry.UpdateLayout(request);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->layout_hash(), LayoutHash(LayoutOf(kHalf)));
  // And where there is one, the wrong one is told apart by its segment.
  request = Request(kWhole);
  *request.mutable_previous() = LayoutOf(kTurned);
  const absl::Status wrong = harness.registry.UpdateLayout(request).status();
  EXPECT_EQ(Reason(wrong), "LAYOUT_MISMATCH");
  EXPECT_NE(wrong.message().find("previous.segments[0]"), std::string::npos)
      << wrong;
}

TEST(LayoutOfASession, ARankWithAnotherOrderIsToldTheFirstSegment) {
  Harness harness;
  harness.Create("s", Options(kWhole));
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  for (const auto& [sizes, value, existing] :
       {std::tuple(kTurned, "\"head\" (400)", "\"trunk\" (600)"),
        std::tuple(kHalf, "none", "\"head\" (400)"),
        std::tuple(kGrown, "\"adapter\" (50)", "\"head\" (400)")}) {
    *request.mutable_session() = Options(sizes);
    const absl::Status status = harness.registry.Create(request).status();
    EXPECT_EQ(Reason(status), "SESSION_EXISTS");
    EXPECT_EQ(Metadata(status, "field"),
              sizes == kTurned ? "layout.segments[0]" : "layout.segments[1]");
    EXPECT_EQ(Metadata(status, "value"), value);
    EXPECT_EQ(Metadata(status, "existing"), existing);
  }
}

TEST(LayoutOfASession, WhatIsRefusedChangesNothing) {
  Limits limits;
  // Enough for the session, not for two.
  limits.memory_budget_bytes = 60'000;
  Harness harness(limits);
  harness.Create("s", Options(kWhole));
  Harness other;
  other.Create("s", Options(kWhole));
  auto worker = harness.Join("sessions/s", 0, 1);
  auto twin = other.Join("sessions/s", 0, 1);
  EXPECT_EQ(StepAt(worker.get(), 1).update, StepAt(twin.get(), 1).update);

  EXPECT_EQ(Reason(harness.registry.UpdateLayout(Request(kGrown)).status()),
            "LIMIT_EXCEEDED");
  EXPECT_EQ(Reason(harness.registry
                       .UpdateLayout(Request({{"trunk", 600}, {"head", 401}}))
                       .status()),
            "INVALID_OPTION");
  EXPECT_EQ(Reason(harness.registry.UpdateLayout(Request({})).status()),
            "INVALID_OPTION");
  v1::UpdateLayoutRequest request = Request(kHalf);
  request.set_uid("another");
  EXPECT_EQ(Reason(harness.registry.UpdateLayout(request).status()),
            "SESSION_REPLACED");
  request = Request(kHalf);
  request.set_name("sessions/none");
  EXPECT_EQ(Reason(harness.registry.UpdateLayout(request).status()),
            "SESSION_NOT_FOUND");
  EXPECT_FALSE(worker->cancelled());
  for (uint64_t step = 2; step <= 4; ++step) {
    EXPECT_EQ(StepAt(worker.get(), step).update,
              StepAt(twin.get(), step).update);
  }
}

// A worker whose answer has not been taken, and a change of the layout that is
// known to wait for it once the constructor returns.
class AnswerOnItsWay {
 public:
  explicit AnswerOnItsWay(Harness* harness) {
    harness->Create("s", Options(kWhole));
    worker_ = harness->Join("sessions/s", 0, 1);
    const Vectors vectors = Gradients(1000, 1, {0, 1, 2});
    EXPECT_TRUE(worker_->Send(worker_->Header(1, vectors), vectors).ok());
    reply_ = worker_->stream().Finish([] { return false; });
    EXPECT_TRUE(reply_.ok()) << reply_.status();
    const int before = harness->clock.asked();
    changes_ = std::thread([this, harness] {
      status_ = harness->registry.UpdateLayout(Request(kHalf)).status();
      changed_ = true;
    });
    while (!changed_ && harness->clock.asked() < before + 5) {
      std::this_thread::yield();
    }
    EXPECT_FALSE(changed_);
  }

  // The worker is slow to take it, and gets all of it.
  void Take() {
    EXPECT_EQ(Worker::Collect(*reply_)->update.size(), 1000);
    worker_->stream().EndStep().IgnoreError();  // Its stream may have ended.
  }
  absl::Status Join() {
    changes_.join();
    return status_;
  }
  bool changed() const { return changed_; }
  const Worker& worker() const { return *worker_; }

 private:
  std::unique_ptr<Worker> worker_;
  absl::StatusOr<StepReply> reply_;
  std::atomic<bool> changed_{false};
  absl::Status status_;
  std::thread changes_;
};

TEST(LayoutOfASession, AnAnswerThatIsBeingSentIsWaitedFor) {
  Harness harness;
  AnswerOnItsWay answer(&harness);
  EXPECT_FALSE(answer.worker().cancelled());
  answer.Take();
  EXPECT_TRUE(answer.Join().ok());
  EXPECT_TRUE(answer.worker().cancelled());
}

TEST(LayoutOfASession, AWorkerThatTakesNothingIsWaitedForNoLongerThanItMay) {
  Harness harness;
  AnswerOnItsWay answer(&harness);
  std::atomic<bool> deleted{false};
  // Its files are being replaced: who deletes it waits, too. Others do not.
  std::thread deletes([&] {
    v1::DeleteSessionRequest request;
    request.set_name("sessions/s");
    EXPECT_TRUE(harness.registry.Delete(request).ok());
    deleted = true;
  });
  harness.Create("other", Options(kWhole));
  v1::UpdateLayoutRequest other = Request(kHalf);
  other.set_name("sessions/other");
  EXPECT_TRUE(harness.registry.UpdateLayout(other).ok());
  EXPECT_FALSE(answer.changed());
  EXPECT_FALSE(deleted);
  harness.clock.Advance(absl::Minutes(1));  // send_timeout.
  EXPECT_TRUE(answer.Join().ok());
  deletes.join();
  EXPECT_TRUE(answer.worker().cancelled());
  EXPECT_EQ(Reason(harness.registry.Get("sessions/s").status()),
            "SESSION_NOT_FOUND");
}

// Whoever says nothing of the layout takes a session as it is.
TEST(LayoutOfASession, IsComparedWhereBothSidesNameOne) {
  Harness harness;
  v1::Session without = Options(kWhole);
  without.clear_layout();
  harness.Create("with", Options(kWhole));
  harness.Create("without", without);
  const auto differs = [&](const char* id, const v1::Session& wanted) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    *request.mutable_session() = wanted;
    const absl::Status status = harness.registry.Create(request).status();
    EXPECT_EQ(Reason(status), "SESSION_EXISTS");
    return Metadata(status, "field");
  };
  EXPECT_EQ(differs("with", without), "(no field)");
  EXPECT_EQ(differs("without", Options(kWhole)), "(no field)");
  EXPECT_EQ(differs("with", Options(kTurned)), "layout.segments[0]");
  without.set_num_parameters(7);
  EXPECT_EQ(differs("with", without), "num_parameters");
}

TEST(LayoutOfASession, AStateThatNamesNoneFitsOneThatDoesAndTheOtherWayRound) {
  TemporaryDirectory place;
  auto directory = StateDirectory::Open(place.path(), "boot");
  ASSERT_TRUE(directory.ok());
  Harness harness(directory->get());
  v1::Session without = Options(kWhole);
  without.clear_layout();
  harness.Create("with", Options(kWhole));
  harness.Create("without", without);
  harness.Create("turned", Options(kTurned));
  const auto exported = [&](const char* id) {
    v1::ExportSessionRequest request;
    request.set_name(absl::StrCat("sessions/", id));
    std::string file;
    const absl::Status status =
        WriteSnapshot(*harness.registry.Snapshot(request),
                      [&](absl::Span<const std::byte> bytes) {
                        file.append(reinterpret_cast<const char*>(bytes.data()),
                                    bytes.size());
                        return absl::OkStatus();
                      });
    EXPECT_TRUE(status.ok()) << status;
    return file;
  };
  const auto import = [&](const char* id, const std::string& file) {
    v1::ImportSessionRequest::Target target;
    target.set_name(absl::StrCat("sessions/", id));
    return harness.registry
        .Import(target,
                {reinterpret_cast<const std::byte*>(file.data()), file.size()})
        .status();
  };
  EXPECT_TRUE(import("without", exported("with")).ok());
  EXPECT_TRUE(import("with", exported("without")).ok());
  const absl::Status refused = import("turned", exported("with"));
  EXPECT_EQ(Reason(refused), "INVALID_OPTION");
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("layout_hash"));
}

TEST(LayoutOfASession, ADrainedServerMarksItsFileAsCleanAllTheSame) {
  TemporaryDirectory place;
  {
    auto directory = StateDirectory::Open(place.path(), "boot");
    ASSERT_TRUE(directory.ok());
    Harness harness(directory->get());
    AnswerOnItsWay answer(&harness);
    std::thread drains([&] {
      harness.registry.Drain(harness.clock.Now() + absl::Minutes(1));
    });
    answer.Take();
    answer.Join().IgnoreError();  // It may have come too late.
    drains.join();
  }
  // Another boot takes up what is clean, and nothing else.
  auto directory = StateDirectory::Open(place.path(), "another boot");
  ASSERT_TRUE(directory.ok());
  Harness harness(directory->get());
  const auto taken = harness.registry.TakeUpStored();
  ASSERT_EQ(taken.size(), 1);
  EXPECT_TRUE(taken[0].status.ok()) << taken[0].status;
  EXPECT_EQ(taken[0].committed_step, 1);
}

TEST(LayoutOfASession, AWatcherGoesOnWatching) {
  Harness harness;
  harness.Create("s", Options(kWhole));
  auto worker = harness.Join("sessions/s", 0, 1);
  StepAt(worker.get(), 1);
  v1::WatchRequest request;
  const auto watcher = (*harness.registry.Get("sessions/s"))->Watch(request);
  ASSERT_TRUE(watcher.ok());
  const auto never = [] { return false; };
  EXPECT_EQ((*watcher)->Next(never)->result().step(), 1);
  ASSERT_TRUE(harness.registry.UpdateLayout(Request(kHalf)).ok());
  worker = Resume(&harness, 1, 1);
  StepAt(worker.get(), 2);
  const auto told = (*watcher)->Next(never);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->result().step(), 2);
  EXPECT_EQ(told->result().update_length(), 600);
  EXPECT_EQ((*harness.registry.Get("sessions/s"))
                    ->statistics()
                    .Read()
                    .steps()
                    .conflict_free() +
                (*harness.registry.Get("sessions/s"))
                    ->statistics()
                    .Read()
                    .steps()
                    .in_conflict(),
            2);
}

// A death in between leaves the old layout or the new one.
TEST(LayoutOfASession, SurvivesTheServersDeathBeforeAndAfterTheChange) {
  TemporaryDirectory place, copies;
  std::vector<std::string> deaths;
  {
    auto directory = StateDirectory::Open(place.path(), "boot");
    ASSERT_TRUE(directory.ok());
    const std::string path = (*directory)->SessionPath("s");
    Harness harness(directory->get());
    harness.Create("s", Options(kWhole));
    auto worker = Resume(&harness, 0, 1);
    for (uint64_t step = 1; step <= 3; ++step) StepAt(worker.get(), step);
    const auto die = [&] {
      deaths.push_back(copies / absl::StrCat(deaths.size()));
      fs::create_directories(deaths.back() + "/sessions");
      fs::copy(path, deaths.back() + "/sessions/s",
               fs::copy_options::recursive);
    };
    die();
    // One that was not finished lies there.
    fs::copy_file(path + "/state", deaths[0] + "/sessions/s/state.next");
    ASSERT_TRUE(harness.registry.UpdateLayout(Request(kTurned)).ok());
    die();
    EXPECT_FALSE(fs::exists(path + "/state.next"));
    worker = Resume(&harness, 3, 1);
    StepAt(worker.get(), 4);
    die();
  }
  for (size_t i = 0; i < deaths.size(); ++i) {
    auto directory = StateDirectory::Open(deaths[i], "boot");
    ASSERT_TRUE(directory.ok());
    Harness harness(directory->get());
    const auto taken = harness.registry.TakeUpStored();
    ASSERT_EQ(taken.size(), 1);
    ASSERT_TRUE(taken[0].status.ok()) << taken[0].status;
    EXPECT_EQ(taken[0].committed_step, i == 2 ? 4 : 3);
    const v1::Session session =
        (*harness.registry.Get("sessions/s"))->Describe();
    EXPECT_EQ(session.epoch(), i == 0 ? 1 : 2);
    EXPECT_EQ(session.layout_hash(),
              LayoutHash(LayoutOf(i == 0 ? kWhole : kTurned)));
    EXPECT_FALSE(fs::exists(deaths[i] + "/sessions/s/state.next"));
    auto worker = Resume(&harness, taken[0].committed_step, 1);
    StepAt(worker.get(), taken[0].committed_step + 1);
  }
}

}  // namespace
}  // namespace concord
