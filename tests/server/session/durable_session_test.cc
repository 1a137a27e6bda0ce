// Sessions whose steps are kept: what is there after the server's death.
//
// A death at some instant leaves the state file as the kernel has it then; a
// copy of the file taken at that instant is the same bytes.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/storage/state_directory.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

namespace fs = std::filesystem;

constexpr char kBoot[] = "boot-1";
constexpr size_t kBackground = 70'000;  // Just long enough for a committer.

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path,
                                              const std::string& boot = kBoot) {
  auto opened = StateDirectory::Open(path, boot);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

v1::Session Options(size_t n, const std::string& kind) {
  v1::Session session = Harness::Options(n, 1);
  v1::OperatorOptions& options = *session.mutable_options();
  if (kind == "none") options.mutable_momentum()->mutable_none();
  if (kind == "separate") options.mutable_momentum()->mutable_separate();
  if (kind == "columns") options.mutable_combiner()->mutable_trimmed_mean();
  if (kind == "state") options.mutable_combiner()->mutable_cr_mogm();
  return session;
}

// The losses of a step: all at first, then different ones.
Vectors StepVectors(size_t n, uint64_t step) {
  if (step < 3) return Gradients(n, step, {0, 1, 2});
  return Gradients(n, step, {static_cast<uint32_t>(step % 3)});
}

struct Case {
  const char* kind;
  bool far;  // On a device that the host cannot see.
};

class Durable : public testing::TestWithParam<Case> {
 protected:
  static std::unique_ptr<Harness> Start(const StateDirectory* directory,
                                        PhaseHook phase = nullptr) {
    return std::make_unique<Harness>(
        directory, std::move(phase), nullptr,
        GetParam().far ? MakeFarKernels(2) : MakeCpuKernels(2));
  }

  // Steps [first, last] on a session of a rank that has applied first - 1.
  static std::vector<Vector> Run(Harness* harness, size_t n, uint64_t first,
                                 uint64_t last) {
    v1::Join join = Harness::JoinMessage("sessions/s", 0, first + 1000);
    join.set_resume_step(first - 1);
    auto worker = Worker::Join(&harness->registry, join);
    EXPECT_TRUE(worker.ok()) << worker.status();
    std::vector<Vector> updates;
    for (uint64_t step = first; step <= last; ++step) {
      const auto answer = (*worker)->Step(step, StepVectors(n, step));
      EXPECT_TRUE(answer.ok()) << answer.status();
      updates.push_back(answer->update);
    }
    return updates;
  }

  // What an undisturbed run in the host's memory gives.
  std::vector<Vector> Undisturbed(size_t n, uint64_t last) const {
    Harness harness;
    harness.Create("s", Options(n, GetParam().kind));
    return Run(&harness, n, 1, last);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Operators, Durable,
    testing::Values(Case{"pseudo", false}, Case{"separate", false},
                    Case{"none", false}, Case{"columns", false},
                    Case{"state", false}, Case{"pseudo", true},
                    Case{"separate", true}, Case{"none", true},
                    Case{"columns", true}),
    [](const auto& info) {
      return absl::StrCat(info.param.kind, info.param.far ? "_far" : "");
    });

TEST_P(Durable, ComputesTheSameBitsAsASessionInMemory) {
  for (const size_t n : {kSmall, kBackground}) {
    TemporaryDirectory place;
    const auto directory = OpenDirectory(place.path());
    const auto harness = Start(directory.get());
    harness->Create("s", Options(n, GetParam().kind));
    EXPECT_EQ(Run(harness.get(), n, 1, 6), Undisturbed(n, 6));
  }
}

TEST_P(Durable, ADeathAtAnyInstantLeavesTheOldStepOrTheNewOneWhole) {
  for (const size_t n : {kSmall, kBackground}) {
    const uint64_t last = n == kSmall ? 7 : 4;
    const std::vector<Vector> expected = Undisturbed(n, last + 3);
    TemporaryDirectory place, copies;
    struct Death {
      std::string path;
      Phase phase;
    };
    std::vector<Death> deaths;
    std::vector<int> hits(8, 0);
    {
      const auto directory = OpenDirectory(place.path());
      const std::string file = directory->StatePath("s");
      // Of the many chunks and blocks of long vectors not every one.
      const auto harness = Start(directory.get(), [&](Phase phase) {
        int& hit = hits[static_cast<int>(phase)];
        const bool many = n != kSmall;
        const int every = phase == Phase::kIngest   ? (many ? 61 : 3)
                          : phase == Phase::kCommit ? (many ? 5 : 1)
                                                    : 1;
        if (hit++ % every != 0) return;
        Death death = {copies / absl::StrCat(deaths.size()), phase};
        fs::create_directories(death.path + "/sessions/s");
        fs::copy_file(file, death.path + "/sessions/s/state");
        deaths.push_back(death);
      });
      harness->Create("s", Options(n, GetParam().kind));
      EXPECT_EQ(Run(harness.get(), n, 1, last),
                std::vector<Vector>(expected.begin(), expected.begin() + last));
    }
    EXPECT_GT(deaths.size(), 5 * last);
    for (const Death& death : deaths) {
      const auto directory = OpenDirectory(death.path);
      const auto harness = Start(directory.get());
      const auto taken = harness->registry.TakeUpStored();
      ASSERT_EQ(taken.size(), 1);
      ASSERT_TRUE(taken[0].status.ok()) << taken[0].status;
      const uint64_t committed = taken[0].committed_step;
      // The rank asks for the step again whose answer it did not see, whether
      // it was committed or not.
      const uint64_t again = std::max<uint64_t>(committed, 1);
      const std::vector<Vector> updates =
          Run(harness.get(), n, again, last + 2);
      ASSERT_EQ(updates, std::vector<Vector>(expected.begin() + again - 1,
                                             expected.begin() + last + 2))
          << "phase " << static_cast<int>(death.phase) << ", committed "
          << committed;
    }
  }
}

TEST_P(Durable, ASessionThatWasClosedGoesOnUnderAnotherBoot) {
  const std::vector<Vector> expected = Undisturbed(kSmall, 6);
  TemporaryDirectory place;
  {
    const auto directory = OpenDirectory(place.path());
    const auto harness = Start(directory.get());
    harness->Create("s", Options(kSmall, GetParam().kind));
    Run(harness.get(), kSmall, 1, 3);
    harness->registry.Drain(harness->clock.Now() + absl::Seconds(1));
  }
  const auto directory = OpenDirectory(place.path(), "boot-2");
  const auto harness = Start(directory.get());
  const auto taken = harness->registry.TakeUpStored();
  ASSERT_TRUE(taken.at(0).status.ok()) << taken[0].status;
  EXPECT_EQ(taken[0].committed_step, 3);
  EXPECT_EQ(Run(harness.get(), kSmall, 4, 6),
            std::vector<Vector>(expected.begin() + 3, expected.end()));
}

TEST(DurableSession, OfAMachineThatStoppedIsRefusedUntilItIsDeleted) {
  TemporaryDirectory place;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    harness.Create("s", Options(kSmall, "pseudo"));
  }
  const auto directory = OpenDirectory(place.path(), "boot-2");
  Harness harness(directory.get());
  EXPECT_EQ(Reason(harness.registry.TakeUpStored().at(0).status), "UNCLEAN");
  EXPECT_EQ(Reason(harness.registry.Get("sessions/s").status()), "UNCLEAN");
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = Options(kSmall, "pseudo");
  EXPECT_EQ(Reason(harness.registry.Create(request).status()), "UNCLEAN");
  v1::DeleteSessionRequest deletion;
  deletion.set_name("sessions/s");
  EXPECT_TRUE(harness.registry.Delete(deletion).ok());
  EXPECT_FALSE(fs::exists(directory->SessionPath("s")));
  EXPECT_TRUE(harness.registry.Create(request).ok());
}

TEST(DurableSession, WhoseVectorsHaveAFlippedBitIsRefused) {
  TemporaryDirectory place;
  std::string file;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    harness.Create("s", Options(kSmall, "pseudo"));
    auto worker = harness.Join("sessions/s", 0);
    ASSERT_TRUE(worker->Step(1, StepVectors(kSmall, 1)).ok());
    worker.reset();
    harness.registry.Drain(harness.clock.Now() + absl::Seconds(1));
    file = directory->StatePath("s");
  }
  const std::string intact = ReadWholeFile(file);
  int refused = 0;
  for (size_t at = intact.size() - 70'000; at < intact.size(); at += 2999) {
    std::string flipped = intact;
    flipped[at] ^= 4;
    WriteWholeFile(file, flipped);
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    const auto taken = harness.registry.TakeUpStored();
    if (taken.at(0).status.ok()) continue;  // Between two vectors, or unused.
    ++refused;
    EXPECT_EQ(Reason(taken[0].status), "STATE_DAMAGED");
  }
  EXPECT_GT(refused, 5);
}

TEST(DurableSession, KeepsWhatUpdateSessionHasPromised) {
  TemporaryDirectory place;
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name("sessions/s");
  request.mutable_session()
      ->mutable_options()
      ->mutable_momentum()
      ->mutable_pseudo()
      ->set_beta_1(0.5);
  request.mutable_update_mask()->add_paths("options.momentum.pseudo.beta_1");
  Vector expected;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    harness.Create("s", Options(kSmall, "pseudo"));
    auto worker = harness.Join("sessions/s", 0);
    ASSERT_TRUE(worker->Step(1, StepVectors(kSmall, 1)).ok());
    // A round is open: the options wait for its end, the promise does not.
    ASSERT_TRUE(
        worker->Send(worker->Header(2, StepVectors(kSmall, 2)), {}).ok());
    ASSERT_TRUE(harness.registry.Update(request).ok());
  }
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  ASSERT_TRUE(harness.registry.TakeUpStored().at(0).status.ok());
  const auto session = harness.registry.Get("sessions/s");
  EXPECT_EQ((*session)->Describe().options().momentum().pseudo().beta_1(), 0.5);
}

TEST(DurableSession, RemembersWhichIncarnationsWereReplaced) {
  TemporaryDirectory place;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    const std::string name = harness.Create("s", Options(kSmall, "pseudo"));
    harness.Join(name, 0, 11);
    auto worker = harness.Join(name, 0, 12);
    ASSERT_TRUE(worker->Step(1, StepVectors(kSmall, 1)).ok());
  }
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  ASSERT_TRUE(harness.registry.TakeUpStored().at(0).status.ok());
  v1::Join join = Harness::JoinMessage("sessions/s", 0, 11);
  join.set_resume_step(0);
  EXPECT_EQ(Reason(Worker::Join(&harness.registry, join).status()),
            "SUPERSEDED");
}

TEST(DurableSession, RemembersWhoWasNotInTheLastRound) {
  TemporaryDirectory place;
  {
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get());
    v1::Session options = Harness::Options(kSmall, 2);
    options.set_min_workers(1);
    options.mutable_straggler_timeout()->set_seconds(2);
    auto worker = harness.Join(harness.Create("s", options), 0);
    const Vectors vectors = StepVectors(kSmall, 1);
    ASSERT_TRUE(worker->Send(worker->Header(1, vectors), vectors).ok());
    Waiting waiting(worker.get());
    harness.clock.Advance(absl::Seconds(2));
    ASSERT_TRUE(waiting.Get().ok());
  }
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  ASSERT_TRUE(harness.registry.TakeUpStored().at(0).status.ok());
  const v1::Session session = (*harness.registry.Get("sessions/s"))->Describe();
  ASSERT_EQ(session.absent_ranks_size(), 1);
  EXPECT_EQ(session.absent_ranks(0), 1u);
  // Nobody waits for it.
  auto worker = harness.Join("sessions/s", 0);
  EXPECT_TRUE(worker->Step(2, StepVectors(kSmall, 2)).ok());
}

TEST(DurableSession, ThatNobodyUsesIsPutAwayAndComesBack) {
  TemporaryDirectory place;
  const auto directory = OpenDirectory(place.path());
  Harness harness(directory.get());
  const std::string name = harness.Create("s", Options(kSmall, "pseudo"));
  auto worker = harness.Join(name, 0);
  const auto first = worker->Step(1, StepVectors(kSmall, 1));
  worker.reset();
  harness.clock.Advance(absl::Hours(25));
  EXPECT_EQ(harness.registry.ReapIdle(), std::vector<std::string>{name});
  v1::ServerInfo info;
  harness.registry.Describe(&info);
  EXPECT_EQ(info.memory_reserved_bytes(), 0);
  v1::Join join = Harness::JoinMessage(name, 0, 5);
  join.set_resume_step(0);
  auto again = Worker::Join(&harness.registry, join);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->Step(1, {})->update, first->update);
}

TEST(DurableSession, IsAskedForInVainWithoutAStateDirectory) {
  Harness harness;
  v1::CreateSessionRequest request;
  *request.mutable_session() = Options(kSmall, "pseudo");
  request.mutable_session()->set_durability(v1::DURABILITY_STEP);
  EXPECT_EQ(Reason(harness.registry.Create(request).status()), "NOT_DURABLE");
}

TEST(DurableSession, OfADirectoryThatAnotherServerUsesIsLeftAlone) {
  TemporaryDirectory place;
  const auto first = OpenDirectory(place.path());
  EXPECT_EQ(Reason(StateDirectory::Open(place.path(), kBoot).status()),
            "STORAGE_IN_USE");
}

}  // namespace
}  // namespace concord
