// Session: when a round ends, with whom, and who is not waited for.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/errors.h"
#include "server/session/session.h"

namespace concord {
namespace {

bool HasComplete(const Round& round, uint32_t rank) {
  const std::shared_ptr<Contribution>& present = round.contributions[rank];
  return present != nullptr && present->counted;
}

}  // namespace

std::shared_ptr<Round> Session::NewRound(uint64_t step, absl::Time now) const {
  auto round = std::make_shared<Round>();
  round->step = step;
  round->deadline = now + round_timeout_;
  round->contributions.resize(ranks_.size());
  round->quorum = static_cast<uint32_t>(ranks_.size());
  if (current_.min_workers() != 0) {
    round->quorum = current_.min_workers();
    round->straggler_timeout = straggler_timeout_;
  }
  return round;
}

void Session::Count(Stream* stream, absl::Time now) {
  Round* const round = stream->round.get();
  if (round_.get() != round || stream->contribution == nullptr ||
      round->contributions[stream->rank] != stream->contribution ||
      stream->contribution->counted) {
    return;
  }
  stream->contribution->counted = true;
  stream->contribution->complete_at = now;
  if (++round->counted == round->quorum) round->quorum_at = now;
}

absl::Time Session::EndOf(const Round& round) const {
  return std::min(round.deadline, round.quorum_at + round.straggler_timeout);
}

bool Session::IsDue(const Round& round, absl::Time now) const {
  if (round.counted < round.quorum) return false;
  if (now >= EndOf(round)) return true;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!ranks_[rank].absent && !HasComplete(round, rank)) return false;
  }
  return true;
}

void Session::CheckRound(absl::Time now) {
  if (round_ == nullptr) return;
  if (IsDue(*round_, now)) {
    SolveRound();
    return;
  }
  if (now < round_->deadline) return;
  std::vector<uint32_t> missing;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!HasComplete(*round_, rank)) missing.push_back(rank);
  }
  FailRound(
      MakeError(absl::StatusCode::kDeadlineExceeded,
                {"ROUND_TIMEOUT",
                 "",
                 "",
                 "",
                 {{"missing_ranks", absl::StrJoin(missing, ",")},
                  {"step", absl::StrCat(round_->step)}}},
                absl::StrCat("step ", round_->step, " has waited ",
                             absl::FormatDuration(round_timeout_),
                             " for ranks ", absl::StrJoin(missing, ", "))));
}

void Session::TakeOutLate(Round* round) {
  for (std::shared_ptr<Contribution>& present : round->contributions) {
    if (present == nullptr || present->counted) continue;
    GiveUp(present.get(), absl::OkStatus());
    present = nullptr;
  }
}

void Session::NoteAbsent(const Round& round) {
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (round.contributions[rank] == nullptr) ranks_[rank].absent = true;
  }
}

absl::Status Session::Depart(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  if (!stream->ended.ok()) return stream->ended;
  last_used_ = parts_.clock->Now();
  Withdraw(stream, absl::CancelledError("the rank has left the session"));
  ranks_[stream->rank].absent = true;
  // It may be the one that the open round has waited for.
  CheckRound(last_used_);
  return absl::OkStatus();
}

}  // namespace concord
