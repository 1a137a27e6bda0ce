// Session: what is told of its committed steps.
#include <algorithm>
#include <utility>

#include "server/session/session.h"

namespace concord {

absl::StatusOr<std::unique_ptr<Diagnostics::Watcher>> Session::Watch(
    const v1::WatchRequest& request) {
  const absl::Status status = CheckUid(request.uid());
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  if (!closed_.ok()) return closed_;
  return diagnostics_->Watch(committed_.result == nullptr ? nullptr
                                                          : CollectFacts());
}

std::vector<RankTime> Session::RankTimes(const Round& round,
                                         const SolvedStep& solved) {
  const absl::Time solving_at = solved.solved_at - solved.solve;
  std::vector<RankTime> times;
  times.reserve(round.contributions.size());
  for (const std::shared_ptr<Contribution>& part : round.contributions) {
    if (part == nullptr) continue;
    times.push_back(
        {part->rank,
         std::max(absl::ZeroDuration(), part->complete_at - part->begun_at),
         std::max(absl::ZeroDuration(), solving_at - part->complete_at)});
  }
  return times;
}

std::shared_ptr<const StepFacts> Session::CollectFacts() const {
  return std::make_shared<const StepFacts>(
      StepFacts{committed_.result, committed_.trailer, committed_.ranks,
                committed_.time});
}

}  // namespace concord
