// Checkpoints: taken while steps go on, restored, exported, imported.
#include "server/session/checkpoint.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "server/storage/state_directory.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path,
                                              const std::string& boot = "1") {
  auto opened = StateDirectory::Open(path, boot);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

std::string ExportOf(SessionRegistry* registry, const std::string& name) {
  v1::ExportSessionRequest request;
  request.set_name(name);
  auto snapshot = registry->Snapshot(request);
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  std::string file;
  const absl::Status status =
      WriteSnapshot(*std::move(snapshot), [&](absl::Span<const std::byte> b) {
        file.append(reinterpret_cast<const char*>(b.data()), b.size());
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return file;
}

absl::StatusOr<v1::Session> ImportInto(SessionRegistry* registry,
                                       const std::string& name,
                                       const std::string& file) {
  v1::ImportSessionRequest::Target target;
  target.set_name(name);
  return registry->Import(target, AsBytes(file));
}

std::unique_ptr<Worker> JoinAt(Harness* harness, const std::string& name,
                               uint64_t applied, uint64_t incarnation) {
  v1::Join join = Harness::JoinMessage(name, 0, incarnation);
  join.set_resume_step(applied);
  auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  return *std::move(worker);
}

Vector StepAt(Worker* worker, size_t n, uint64_t step) {
  const auto answer = worker->Step(
      step, Gradients(n, step,
                      step < 3 ? std::vector<uint32_t>{0, 1, 2}
                               : std::vector<uint32_t>{
                                     static_cast<uint32_t>(step % 3)}));
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? answer->update : Vector();
}

v1::Session Options(size_t n, const std::string& kind = "pseudo") {
  v1::Session session = Harness::Options(n, 1);
  v1::OperatorOptions& options = *session.mutable_options();
  if (kind == "none") options.mutable_momentum()->mutable_none();
  if (kind == "separate") options.mutable_momentum()->mutable_separate();
  if (kind == "columns") options.mutable_combiner()->mutable_trimmed_mean();
  return session;
}

v1::RestoreSessionRequest RestoreRequest(const std::string& checkpoint = "") {
  v1::RestoreSessionRequest request;
  request.set_name("sessions/s");
  request.set_checkpoint(checkpoint);
  return request;
}

v1::CreateCheckpointRequest CheckpointOf(const std::string& name) {
  v1::CreateCheckpointRequest request;
  request.set_session(name);
  return request;
}

class Checkpoints : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Operators, Checkpoints,
                         testing::Values("pseudo", "separate", "columns",
                                         "none"),
                         [](const auto& info) { return info.param; });

TEST_P(Checkpoints, ASessionPutBackGoesOnWithTheBitsOfThen) {
  for (const bool every_step : {true, false}) {
    TemporaryDirectory place;
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    v1::Session options = Options(kSmall, GetParam());
    options.set_durability(every_step ? v1::DURABILITY_STEP
                                      : v1::DURABILITY_CHECKPOINT);
    const std::string name = harness.Create("s", options);
    auto worker = harness.Join(name, 0);
    for (uint64_t step = 1; step <= 4; ++step) {
      StepAt(worker.get(), kSmall, step);
    }
    const Vector at_five = StepAt(worker.get(), kSmall, 5);
    const auto taken = harness.registry.CreateCheckpoint(CheckpointOf(name));
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_EQ(taken->name(), "sessions/s/checkpoints/5");
    std::vector<Vector> later;
    for (uint64_t step = 6; step <= 9; ++step) {
      later.push_back(StepAt(worker.get(), kSmall, step));
    }

    const auto restored = harness.registry.Restore(RestoreRequest());
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->epoch(), 2);
    EXPECT_EQ(restored->committed_step(), 5);
    // Who was joined learns of it.
    EXPECT_EQ(Reason(worker->Step(10, {}).status()), "EPOCH_CHANGED");
    worker = JoinAt(&harness, name, 5, 77);
    // The update of the step that it was put back to, once more.
    EXPECT_EQ(worker->Step(5, {})->update, at_five);
    for (uint64_t step = 6; step <= 9; ++step) {
      EXPECT_EQ(StepAt(worker.get(), kSmall, step), later[step - 6]);
    }
  }
}

TEST_P(Checkpoints, AnExportGoesIntoAnotherServer) {
  Harness from, to;
  const std::string name = from.Create("s", Options(kSmall, GetParam()));
  to.Create("s", Options(kSmall, GetParam()));
  auto worker = from.Join(name, 0);
  for (uint64_t step = 1; step <= 5; ++step) {
    StepAt(worker.get(), kSmall, step);
  }
  const std::string file = ExportOf(&from.registry, name);
  const auto imported = ImportInto(&to.registry, name, file);
  ASSERT_TRUE(imported.ok()) << imported.status();
  auto other = JoinAt(&to, name, 5, 3);
  for (uint64_t step = 6; step <= 9; ++step) {
    EXPECT_EQ(StepAt(other.get(), kSmall, step),
              StepAt(worker.get(), kSmall, step));
  }
}

TEST(Checkpoint, OfAMachineThatStoppedBringsItsSessionBack) {
  TemporaryDirectory place;
  Vector expected;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    const std::string name = harness.Create("s", Options(kSmall));
    auto worker = harness.Join(name, 0);
    for (uint64_t step = 1; step <= 3; ++step) {
      StepAt(worker.get(), kSmall, step);
    }
    ASSERT_TRUE(harness.registry.CreateCheckpoint(CheckpointOf(name)).ok());
    expected = StepAt(worker.get(), kSmall, 4);
  }
  const auto directory = OpenDirectory(place.path(), "2");
  Harness harness(directory.get());
  const auto taken = harness.registry.TakeUpStored();
  EXPECT_EQ(Reason(taken.at(0).status), "UNCLEAN");
  EXPECT_EQ(Metadata(taken[0].status, "checkpoint"),
            "sessions/s/checkpoints/3");
  const auto restored = harness.registry.Restore(RestoreRequest());
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->committed_step(), 3);
  auto worker = JoinAt(&harness, "sessions/s", 3, 9);
  EXPECT_EQ(StepAt(worker.get(), kSmall, 4), expected);
}

TEST(Checkpoint, BeginsANewSessionWhereCreationNamesIt) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  const std::string name = harness.Create("s", Options(kSmall));
  auto worker = harness.Join(name, 0);
  for (uint64_t step = 1; step <= 3; ++step) {
    StepAt(worker.get(), kSmall, step);
  }
  ASSERT_TRUE(harness.registry.CreateCheckpoint(CheckpointOf(name)).ok());
  v1::CreateSessionRequest request;
  request.set_session_id("t");
  *request.mutable_session() = Options(kSmall);
  request.set_restore_from("sessions/s/checkpoints/3");
  ASSERT_TRUE(harness.registry.Create(request).ok());
  auto other = JoinAt(&harness, "sessions/t", 3, 5);
  EXPECT_EQ(StepAt(other.get(), kSmall, 4), StepAt(worker.get(), kSmall, 4));
  // One that does not fit leaves nothing behind.
  request.set_session_id("u");
  *request.mutable_session() = Options(kSmall + 1);
  EXPECT_EQ(Reason(harness.registry.Create(request).status()),
            "INVALID_OPTION");
  EXPECT_EQ(Reason(harness.registry.Get("sessions/u").status()),
            "SESSION_NOT_FOUND");
  request.set_restore_from("sessions/s/checkpoints/8");
  EXPECT_EQ(Reason(harness.registry.Create(request).status()),
            "CHECKPOINT_NOT_FOUND");
}

TEST(Checkpoint, ThatDoesNotFitChangesNothing) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall));
  const std::string twin = harness.Create("twin", Options(kSmall));
  auto worker = harness.Join(name, 0);
  auto other = harness.Join(twin, 0);
  StepAt(worker.get(), kSmall, 1);
  StepAt(other.get(), kSmall, 1);
  harness.Create("a", Options(kSmall + 1));
  harness.Create("b", Options(kSmall, "separate"));
  v1::Session wide = Options(kSmall);
  wide.set_data_type(v1::FLOAT64);
  harness.Create("c", wide);
  v1::Session more = Options(kSmall);
  more.set_num_vectors(4);
  harness.Create("d", more);
  for (const char* id : {"a", "b", "c", "d"}) {
    const std::string file =
        ExportOf(&harness.registry, absl::StrCat("sessions/", id));
    EXPECT_EQ(Reason(ImportInto(&harness.registry, name, file).status()),
              "INVALID_OPTION")
        << id;
  }
  const std::string own = ExportOf(&harness.registry, name);
  for (size_t at = 0; at < own.size(); at += 37) {
    std::string flipped = own;
    flipped[at] ^= 16;
    EXPECT_FALSE(ImportInto(&harness.registry, name, flipped).ok()) << at;
  }
  EXPECT_FALSE(
      ImportInto(&harness.registry, name, own.substr(0, own.size() / 2)).ok());
  EXPECT_EQ(StepAt(worker.get(), kSmall, 2), StepAt(other.get(), kSmall, 2));
}

TEST(Checkpoint, IsTakenByThePolicyAndTheOldestGo) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  absl::Mutex mutex;
  int taken = 0;
  Harness harness(directory.get(), nullptr,
                  [&](const std::string&, const absl::Status& status) {
                    EXPECT_TRUE(status.ok()) << status;
                    absl::MutexLock lock(&mutex);
                    ++taken;
                  });
  v1::Session options = Options(kSmall);
  options.mutable_checkpoints()->set_every_steps(2);
  options.mutable_checkpoints()->set_keep(2);
  const std::string name = harness.Create("s", options);
  auto worker = harness.Join(name, 0);
  for (uint64_t step = 1; step <= 8; ++step) {
    StepAt(worker.get(), kSmall, step);
    absl::MutexLock lock(&mutex);
    const auto is_taken = [&] { return taken >= static_cast<int>(step / 2); };
    mutex.Await(absl::Condition(&is_taken));
  }
  v1::ListCheckpointsRequest request;
  request.set_session(name);
  const auto list = harness.registry.ListCheckpoints(request);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->checkpoints_size(), 2);
  EXPECT_EQ(list->checkpoints(0).step(), 6);
  EXPECT_EQ(list->checkpoints(1).step(), 8);
  EXPECT_EQ((*harness.registry.Get(name))->Describe().last_checkpoint_step(),
            8);
}

// The writer is held at its first piece; steps go on and change every vector.
TEST(Checkpoint, IsOfItsStepWhateverIsCommittedMeanwhile) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  absl::Notification reached, go_on;
  bool first = true;
  Harness harness(directory.get(), [&](Phase phase) {
    if (phase != Phase::kCheckpoint || !first) return;
    first = false;
    reached.Notify();
    go_on.WaitForNotification();
  });
  const std::string name = harness.Create("s", Options(kSmall));
  auto worker = harness.Join(name, 0);
  for (uint64_t step = 1; step <= 3; ++step) {
    StepAt(worker.get(), kSmall, step);
  }
  std::thread taking([&] {
    EXPECT_TRUE(harness.registry.CreateCheckpoint(CheckpointOf(name)).ok());
  });
  reached.WaitForNotification();
  std::vector<Vector> later;
  for (uint64_t step = 4; step <= 9; ++step) {
    later.push_back(StepAt(worker.get(), kSmall, step));
  }
  go_on.Notify();
  taking.join();
  ASSERT_TRUE(harness.registry.Restore(RestoreRequest()).ok());
  worker = JoinAt(&harness, name, 3, 8);
  for (uint64_t step = 4; step <= 9; ++step) {
    EXPECT_EQ(StepAt(worker.get(), kSmall, step), later[step - 4]);
  }
}

TEST(Checkpoint, IsRefusedWithoutAStateDirectory) {
  Harness harness;
  const std::string name = harness.Create("s", Options(kSmall));
  EXPECT_EQ(
      Reason(harness.registry.CreateCheckpoint(CheckpointOf(name)).status()),
      "NOT_DURABLE");
  EXPECT_EQ(Reason(harness.registry.Restore(RestoreRequest()).status()),
            "NOT_DURABLE");
}

}  // namespace
}  // namespace concord
