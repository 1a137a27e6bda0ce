// Session: another layout, which is another session in its place.
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "server/session/session.h"
#include "server/session/stored_session.h"

namespace concord {

void Session::PassOn(Parts* parts) const {
  parts->diagnostics = diagnostics_;
  parts->statistics = statistics_;
}

bool Session::IsAnswering() const {
  return absl::c_any_of(ranks_, [](const RankSlot& slot) {
    const Stream* const stream = slot.stream.get();
    return stream != nullptr && stream->busy && stream->ended.ok() &&
           !stream->accumulates &&
           (stream->round == nullptr || stream->round->solved != nullptr);
  });
}

absl::Status Session::HandOver(const LayoutChange& change, Session* successor,
                               absl::FunctionRef<absl::Status()> publish) {
  absl::MutexLock lock(&mutex_);
  const absl::Time patience = parts_.clock->Now() + send_timeout_;
  while (closed_.ok()) {
    const absl::Time now = parts_.clock->Now();
    if (committing_ == nullptr && (!IsAnswering() || now >= patience)) break;
    Sleep(nullptr, absl::InfiniteDuration());
  }
  if (!closed_.ok()) return closed_;
  if (ChangingOptions(current_).SerializeAsString() !=
      ChangingOptions(successor->options()).SerializeAsString()) {
    // UpdateSession came in between.
    return absl::UnavailableError(
        "the session's options have changed just now; ask again");
  }
  const absl::Status changed = MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"EPOCH_CHANGED",
       "",
       "",
       "",
       {{"epoch", absl::StrCat(epoch_ + 1)},
        {"committed_step", absl::StrCat(committed_step_)}}},
      absl::StrCat(name(), " has another layout since step ", committed_step_));
  if (round_ != nullptr) FailRound(changed);
  absl::Status status;
  {
    absl::MutexLock staging_lock(&staging_mutex_);
    status = successor->Receive(change, operator_.get(), epoch_ + 1,
                                committed_step_, ranks_);
  }
  if (status.ok()) status = publish();
  if (!status.ok()) return status;
  EndAllStreams(changed);
  // Until whoever asks finds the successor under this name.
  closed_ = MakeError(absl::StatusCode::kUnavailable,
                      {"SESSION_PARKED", "", "", "", {}},
                      "the session is just being given another layout; ask "
                      "for it again");
  Wake();
  return absl::OkStatus();
}

absl::Status Session::Receive(const LayoutChange& change,
                              MomentumOperator* from, uint64_t epoch,
                              uint64_t committed_step,
                              const std::vector<RankSlot>& ranks) {
  absl::MutexLock lock(&mutex_);
  {
    absl::MutexLock staging_lock(&staging_mutex_);
    const absl::Status moved =
        MoveState(change, from, operator_.get(), parts_.kernels.get());
    if (!moved.ok()) return moved;
  }
  epoch_ = epoch;
  // Its answer had the old length: who has missed it needs another rank's
  // weights.
  committed_step_ = committed_step;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    ranks_[rank].incarnation = ranks[rank].incarnation;
    ranks_[rank].replaced = ranks[rank].replaced;
  }
  return KeepCommitted();
}

}  // namespace concord
