// Sessions on a device that the host cannot see: the same bits as on the cpu,
// and states that go from one to the other.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/session/checkpoint.h"
#include "server/session/combine_call.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

std::shared_ptr<Kernels> KernelsOf(bool far) {
  return far ? MakeFarKernels(2) : MakeCpuKernels(2);
}

std::unique_ptr<StateDirectory> OpenDirectory(const std::string& path) {
  auto opened = StateDirectory::Open(path, "boot");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

v1::Session Checkpointed(const std::string& kind) {
  v1::Session session = Harness::Options(kSmall, 1);
  session.set_durability(v1::DURABILITY_CHECKPOINT);
  v1::MomentumOptions* momentum = session.mutable_options()->mutable_momentum();
  if (kind == "none") momentum->mutable_none();
  if (kind == "separate") momentum->mutable_separate();
  return session;
}

std::vector<Vector> Steps(Harness* harness, uint64_t first, uint64_t last) {
  v1::Join join = Harness::JoinMessage("sessions/s", 0, first + 10);
  join.set_resume_step(first - 1);
  const auto worker = Worker::Join(&harness->registry, join);
  EXPECT_TRUE(worker.ok()) << worker.status();
  std::vector<Vector> updates;
  for (uint64_t step = first; step <= last; ++step) {
    const auto answer =
        (*worker)->Step(step, Gradients(kSmall, step, {0, 1, 2}));
    EXPECT_TRUE(answer.ok()) << answer.status();
    updates.push_back(answer->update);
  }
  return updates;
}

TEST(DeviceSession, AveragesSeveralRanksToTheSameBitsAsTheCpu) {
  for (const size_t n : {kSmall, kLarge}) {
    std::vector<std::vector<Vector>> updates;
    for (const bool far : {false, true}) {
      Harness harness(KernelsOf(far));
      v1::Session options = Harness::Options(n, 2);
      options.set_max_ranks_per_vector(2);
      const std::string name = harness.Create("s", options);
      auto first = harness.Join(name, 0);
      auto second = harness.Join(name, 1);
      updates.emplace_back();
      for (uint64_t step = 1; step <= 3; ++step) {
        const Vectors mine = Gradients(n, step, {0, 1});
        const Vectors yours = Gradients(n, step + 50, {1, 2});
        ASSERT_TRUE(first->Send(first->Header(step, mine), mine).ok());
        Waiting waiting(first.get());
        const auto answer = second->Step(step, yours);
        ASSERT_TRUE(answer.ok()) << answer.status();
        const auto other = waiting.Get();
        ASSERT_TRUE(other.ok()) << other.status();
        EXPECT_EQ(other->update, answer->update);
        updates.back().push_back(answer->update);
      }
    }
    EXPECT_EQ(updates[0], updates[1]);
  }
}

TEST(DeviceSession, CombinesToTheSameBitsAsTheCpu) {
  std::vector<Vector> results;
  for (const bool far : {false, true}) {
    Harness harness(KernelsOf(far));
    v1::CombineHeader header;
    header.set_num_vectors(2);
    header.set_num_parameters(kLarge);
    auto call = harness.registry.StartCombine(header);
    ASSERT_TRUE(call.ok()) << call.status();
    for (uint32_t i = 0; i < 2; ++i) {
      const Vector vector = RandomVector(kLarge, static_cast<int>(i));
      const absl::Span<const std::byte> bytes[] = {
          {reinterpret_cast<const std::byte*>(vector.data()), kLarge * 4}};
      ASSERT_TRUE((*call)->Append({i, 0, kLarge * 4}, bytes).ok());
    }
    const auto reply = (*call)->Finish();
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_TRUE(reply->update->Wait(kLarge * 4, [] { return false; }).ok());
    results.emplace_back(kLarge);
    std::memcpy(results.back().data(), reply->update->data(), kLarge * 4);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(DeviceSession, GoesBackToItsCheckpoint) {
  for (const char* kind : {"pseudo", "separate", "none"}) {
    TemporaryDirectory place;
    const auto directory = OpenDirectory(place.path());
    Harness harness(directory.get(), nullptr, nullptr, KernelsOf(true));
    harness.Create("s", Checkpointed(kind));
    Steps(&harness, 1, 3);
    v1::CreateCheckpointRequest checkpoint;
    checkpoint.set_session("sessions/s");
    ASSERT_TRUE(harness.registry.CreateCheckpoint(checkpoint).ok());
    const std::vector<Vector> expected = Steps(&harness, 4, 6);
    v1::RestoreSessionRequest restore;
    restore.set_name("sessions/s");
    const auto restored = harness.registry.Restore(restore);
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->committed_step(), 3);
    EXPECT_EQ(Steps(&harness, 4, 6), expected) << kind;
  }
}

// The step that was committed before the export, and the ones after it.
TEST(DeviceSession, StateGoesFromOneDeviceToTheOther) {
  for (const char* kind : {"pseudo", "separate"}) {
    for (const bool from : {false, true}) {
      Harness source(KernelsOf(from));
      v1::Session options = Checkpointed(kind);
      options.set_durability(v1::DURABILITY_NONE);
      source.Create("s", options);
      const std::vector<Vector> before = Steps(&source, 1, 3);
      v1::ExportSessionRequest request;
      request.set_name("sessions/s");
      auto snapshot = source.registry.Snapshot(request);
      ASSERT_TRUE(snapshot.ok()) << snapshot.status();
      std::string file;
      ASSERT_TRUE(WriteSnapshot(
                      *std::move(snapshot),
                      [&](absl::Span<const std::byte> bytes) {
                        file.append(reinterpret_cast<const char*>(bytes.data()),
                                    bytes.size());
                        return absl::OkStatus();
                      })
                      .ok());
      Harness target(KernelsOf(!from));
      target.Create("s", options);
      v1::ImportSessionRequest::Target into;
      into.set_name("sessions/s");
      const auto imported = target.registry.Import(into, AsBytes(file));
      ASSERT_TRUE(imported.ok()) << imported.status();
      const std::vector<Vector> again = Steps(&target, 3, 6);
      EXPECT_EQ(again.front(), before.back());
      EXPECT_EQ(std::vector<Vector>(again.begin() + 1, again.end()),
                Steps(&source, 4, 6));
    }
  }
}

}  // namespace
}  // namespace concord
