// Session: steps before the committed one.
#include <string>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "server/session/session.h"

namespace concord {

absl::Status Session::StepError(uint64_t step) const {
  const bool stale = step <= committed_step_;
  const std::string accepted =
      committed_step_ == 0
          ? "1"
          : absl::StrCat(committed_step_, " (again) or ", committed_step_ + 1);
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {stale ? "STEP_STALE" : "STEP_AHEAD",
                    "header.step",
                    absl::StrCat(step),
                    accepted,
                    {{"committed_step", absl::StrCat(committed_step_)}}});
}

absl::Status Session::ResyncError(absl::string_view field, uint64_t step,
                                  uint64_t oldest) const {
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"RESYNC_WEIGHTS",
       std::string(field),
       absl::StrCat(step),
       absl::StrCat(">= ", oldest),
       {{"committed_step", absl::StrCat(committed_step_)}}},
      absl::StrCat("the updates in between are gone: begin with the weights of "
                   "a rank that has applied step ",
                   committed_step_));
}

uint64_t Session::OldestStep() const {
  return committed_step_ - history_.size();
}

const SolvedStep* Session::FindInHistory(uint64_t step) const {
  for (const SolvedStep& kept : history_) {
    if (kept.step == step) return &kept;
  }
  return nullptr;
}

void Session::KeepInHistory() {
  const size_t most = parts_.options.update_history();
  if (most == 0 || committed_.kept == nullptr) return;
  history_.push_back(CommittedStep());
  if (history_.size() > most) history_.pop_front();
}

}  // namespace concord
