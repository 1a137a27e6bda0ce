#include "tests/bench/durability_cost.h"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "operators/kernels/cpu_kernels.h"
#include "server/session/stored_session.h"
#include "server/storage/state_file.h"
#include "tests/bench/embedded_step.h"

namespace concord::bench {
namespace {

// As Session::CompleteRecord and its commit do.
absl::Status Keep(const EmbeddedStep& step, StateFile* file) {
  state::Record record;
  record.set_epoch(1);
  FillStored(step.Stored(), &record);
  return file->Write(record.SerializeAsString());
}

}  // namespace

absl::StatusOr<DurabilityCost> MeasureDurability(const std::string& directory,
                                                 size_t n, int m, int threads,
                                                 int turns, int steps) {
  v1::Session session;
  session.set_num_vectors(m);
  session.set_num_parameters(n);
  session.set_num_workers(1);
  session.set_max_vectors_per_step(1);
  session.set_data_type(v1::FLOAT32);
  *session.mutable_options()->mutable_momentum()->mutable_pseudo() = {};
  session.mutable_options()->mutable_momentum()->mutable_pseudo()->set_beta_1(
      .9);
  session.mutable_options()->mutable_momentum()->mutable_pseudo()->set_beta_2(
      .999);
  const std::string path = directory + "/concord-bench-state";
  absl::StatusOr<std::shared_ptr<StateFile>> file = StateFile::Create(
      path, StateShape(session), "bench", session.SerializeAsString(), "boot");
  if (!file.ok()) return file.status();
  const auto remove = absl::MakeCleanup([&] {
    std::error_code gone;
    std::filesystem::remove(path, gone);
  });
  absl::StatusOr<std::unique_ptr<EmbeddedStep>> none = EmbeddedStep::Create(
      n, m, MakeCpuKernels(threads), /*with_update_cosines=*/false);
  if (!none.ok()) return none.status();
  absl::StatusOr<std::unique_ptr<EmbeddedStep>> kept = EmbeddedStep::Create(
      n, m, MakeCpuKernels(threads), /*with_update_cosines=*/false,
      {.vectors = *file, .keeps_committed = true, .stored = std::nullopt});
  if (!kept.ok()) return kept.status();
  std::vector<TurnTimes> without, with;
  std::vector<double> ratios;
  for (int turn = 0; turn < turns; ++turn) {
    const absl::StatusOr<TurnTimes> a =
        Turn(steps, [&] { return (*none)->Run(); });
    if (!a.ok()) return a.status();
    const absl::StatusOr<TurnTimes> b = Turn(steps, [&] {
      absl::Status status = (*kept)->Run();
      if (status.ok()) status = Keep(**kept, file->get());
      return status;
    });
    if (!b.ok()) return b.status();
    without.push_back(*a);
    with.push_back(*b);
    ratios.push_back(b->median / a->median);
  }
  return DurabilityCost{FigureOf(without), FigureOf(with), Median(ratios)};
}

}  // namespace concord::bench
