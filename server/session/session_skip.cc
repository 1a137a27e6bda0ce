// Session: steps that are skipped because a rank brought NaN or Inf.
//
// Such a step is committed like any other, so that it is exactly once, too: it
// has a number, an answer that is told again and a record in the state file.
// But the operator has no part in it; its own count of steps, which is what
// its mathematics sees, stays behind the session's.
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/btree_set.h"
#include "server/session/session.h"
#include "server/session/statistics.h"
#include "server/session/write_update.h"

namespace concord {
namespace {

// The losses for which a rank has brought NaN or Inf, ascending.
absl::btree_set<int> NonFiniteLosses(const Contribution& part) {
  absl::btree_set<int> losses(part.non_finite.begin(), part.non_finite.end());
  for (size_t i = 0; i < part.losses.size(); ++i) {
    if (!std::isfinite(part.losses[i])) losses.insert(part.loss_indexes[i]);
  }
  return losses;
}

}  // namespace

bool Session::IsSkipped(const Round& round) const {
  if (!skips_non_finite()) return false;
  const auto any = [&](auto&& holds) {
    return absl::c_any_of(round.contributions, [&](const auto& part) {
      return part != nullptr && holds(*part);
    });
  };
  // A round without any vector fails whatever else it has.
  return any([](const Contribution& part) { return !part.indexes.empty(); }) &&
         any([](const Contribution& part) {
           return !NonFiniteLosses(part).empty();
         });
}

void Session::SkipRound() {
  absl::StatusOr<std::shared_ptr<Update>> update = updates_->Acquire();
  if (!update.ok()) {
    FailRound(update.status());
    return;
  }
  const absl::Time begun_at = parts_.clock->Now();
  const std::shared_ptr<v1::StepResult> result = BeginResult(*round_);
  for (const std::shared_ptr<Contribution>& part : round_->contributions) {
    if (part == nullptr) continue;
    const absl::btree_set<int> losses = NonFiniteLosses(*part);
    if (losses.empty()) continue;
    v1::Contributor* const skipped = result->add_skipped_nonfinite();
    skipped->set_rank(part->rank);
    skipped->mutable_losses()->Add(losses.begin(), losses.end());
  }
  {
    absl::MutexLock lock(&staging_mutex_);
    for (const std::shared_ptr<Contribution>& part : round_->contributions) {
      if (part == nullptr) continue;
      for (GatheredRows::Row* row : part->gathered) gathered_->Drop(row);
    }
    operator_->Reset();
    if (const LossRecorder* recorder = operator_->recorder()) {
      const std::vector<double>& losses = recorder->losses();
      result->mutable_losses()->Add(losses.begin(), losses.end());
    }
  }
  auto solved = std::make_shared<SolvedStep>();
  solved->step = round_->step;
  solved->update = *std::move(update);
  solved->result = result;
  CommitRound(std::move(solved), begun_at);
}

absl::StatusOr<uint64_t> Session::RewriteCommitted(const v1::StepResult* result,
                                                   Update* update) {
  if (WasSkipped(*result)) return WriteZeros(update);
  return RewriteUpdate(*operator_, parts_.kernels.get(), device_update_.get(),
                       update_half_, update);
}

}  // namespace concord
