// Sessions and checkpoints whose files were damaged: refused with a reason, or
// whole; what goes on does so bit for bit.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/storage/state_directory.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::AnyOf;

constexpr size_t kFirstBytes = 4096;
constexpr int kPlaces = 1000;
constexpr uint64_t kSeed = 20261123;

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path) {
  auto opened = StateDirectory::Open(path, "boot");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

Vector StepAt(Harness* harness, uint64_t step) {
  v1::Join join = Harness::JoinMessage("sessions/s", 0, 1000 + step);
  join.set_resume_step(step - 1);
  auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  const auto answer = (*worker)->Step(step, Gradients(kSmall, step, {0, 1, 2}));
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer->update;
}

// The bytes at which a bit is flipped: all of the first ones, then anywhere.
std::vector<size_t> Places(size_t size) {
  std::vector<size_t> places;
  for (size_t at = 0; at < std::min(size, kFirstBytes); ++at) {
    places.push_back(at);
  }
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < kPlaces; ++i) places.push_back(random() % size);
  return places;
}

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
  return bytes;
}

TEST(DamagedState, IsRefusedOrGoesOnBitForBit) {
  const TemporaryDirectory place{FastTempDir()};
  std::string path;
  std::vector<Vector> expected;
  {
    Harness harness;
    harness.Create("s", Harness::Options(kSmall, 1));
    for (uint64_t step = 1; step <= 4; ++step) {
      expected.push_back(StepAt(&harness, step));
    }
  }
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    harness.Create("s", Harness::Options(kSmall, 1));
    for (uint64_t step = 1; step <= 3; ++step) StepAt(&harness, step);
    harness.registry.Drain(harness.clock.Now() + absl::Seconds(1));
    path = directory->StatePath("s");
  }
  const std::string whole = ReadWholeFile(path);
  int refused = 0, taken_up = 0;
  for (const size_t at : Places(whole.size())) {
    WriteWholeFile(path, Flipped(whole, at));
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    const auto taken = harness.registry.TakeUpStored();
    ASSERT_EQ(taken.size(), 1);
    if (!taken[0].status.ok()) {
      ++refused;
      ASSERT_THAT(GetErrorReason(taken[0].status),
                  AnyOf("STATE_DAMAGED", "STATE_FOREIGN"))
          << "byte " << at << ": " << taken[0].status;
      continue;
    }
    // A byte that is not in use. Its last update, and the next one, are right.
    ++taken_up;
    ASSERT_EQ(taken[0].committed_step, 3) << "byte " << at;
    if (taken_up % 16 != 0) continue;
    ASSERT_EQ(StepAt(&harness, 3), expected[2]) << "byte " << at;
    ASSERT_EQ(StepAt(&harness, 4), expected[3]) << "byte " << at;
  }
  EXPECT_GT(refused, 120) << "seed " << kSeed;
  EXPECT_GT(taken_up, 300);
}

TEST(DamagedCheckpoint, IsRefusedAndTheSessionGoesOnBitForBit) {
  const TemporaryDirectory place{FastTempDir()};
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  Harness undisturbed;
  for (Harness* each : {&harness, &undisturbed}) {
    each->Create("s", Harness::Options(kSmall, 1));
    StepAt(each, 1);
  }
  v1::CreateCheckpointRequest create;
  create.set_session("sessions/s");
  const auto checkpoint = harness.registry.CreateCheckpoint(create);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  StepAt(&harness, 2);
  StepAt(&undisturbed, 2);
  std::string path;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(place.path())) {
    if (entry.path().extension() == ".safetensors") path = entry.path();
  }
  const std::string whole = ReadWholeFile(path);
  v1::RestoreSessionRequest restore;
  restore.set_name("sessions/s");
  restore.set_checkpoint(checkpoint->name());
  const auto expect_refused = [&](const std::string& bytes, size_t at) {
    WriteWholeFile(path, bytes);
    const absl::Status status = harness.registry.Restore(restore).status();
    ASSERT_THAT(GetErrorReason(status),
                AnyOf("CHECKPOINT_DAMAGED", "STATE_FOREIGN"))
        << at << ": " << status;
  };
  for (const size_t at : Places(whole.size())) {
    expect_refused(Flipped(whole, at), at);
    expect_refused(whole.substr(0, at), at);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(StepAt(&harness, 3), StepAt(&undisturbed, 3));
}

// No file of this process grows beyond `bytes` while this lives.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);  // As a server does.
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallFiles() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

TEST(FullDisk, RefusesWhatIsNewAndSessionsGoOnBitForBit) {
  const TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  Harness undisturbed;
  for (Harness* each : {&harness, &undisturbed}) {
    each->Create("s", Harness::Options(kSmall, 1));
    StepAt(each, 1);
  }
  v1::CreateCheckpointRequest checkpoint;
  checkpoint.set_session("sessions/s");
  v1::CreateSessionRequest another;
  another.set_session_id("another");
  *another.mutable_session() = Harness::Options(kSmall, 1);
  {
    const SmallFiles full(1000);
    for (const absl::Status& status :
         {harness.registry.CreateCheckpoint(checkpoint).status(),
          harness.registry.Create(another).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(GetErrorReason(status), "STORAGE_FULL") << status;
    }
    // The space of a session is its own since it was created.
    EXPECT_EQ(StepAt(&harness, 2), StepAt(&undisturbed, 2));
  }
  EXPECT_EQ(StepAt(&harness, 3), StepAt(&undisturbed, 3));
  EXPECT_TRUE(harness.registry.CreateCheckpoint(checkpoint).ok());
  EXPECT_TRUE(harness.registry.Create(another).ok());
}

}  // namespace
}  // namespace concord
