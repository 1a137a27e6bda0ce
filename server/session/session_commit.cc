// Session: from a complete round to a committed step, and the committed step
// once more.
#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "server/session/messages.h"
#include "server/session/session.h"
#include "server/session/write_update.h"

namespace concord {
namespace {

struct RecordedLosses {
  std::vector<int> indexes;
  std::vector<double> values;
};

// What the ranks of a round say about each loss: the mean by sample weight, in
// rank order.
RecordedLosses AverageLosses(const Round& round) {
  struct Sum {
    double value = 0;
    double weight = 0;
    int count = 0;
  };
  absl::btree_map<int, Sum> sums;
  for (const std::shared_ptr<Contribution>& part : round.contributions) {
    if (part == nullptr) continue;
    for (size_t i = 0; i < part->losses.size(); ++i) {
      const double weight = part->loss_weights[i];
      Sum& sum = sums[part->loss_indexes[i]];
      // One rank's value is taken as it is, whatever its weight.
      sum.value = sum.count == 0
                      ? part->losses[i]
                      : sum.value + (part->losses[i] - sum.value) *
                                        (weight / (sum.weight + weight));
      sum.weight += weight;
      ++sum.count;
    }
  }
  RecordedLosses result;
  for (const auto& [index, sum] : sums) {
    result.indexes.push_back(index);
    result.values.push_back(sum.value);
  }
  return result;
}

}  // namespace

void Session::CloseRound() {
  const std::shared_ptr<Round> round = round_;
  TakeOutLate(round.get());
  if (IsSkipped(*round)) {
    SkipRound();
    return;
  }
  const bool gathers =
      absl::c_any_of(round->contributions, [](const auto& part) {
        return part != nullptr && part->gathers && !part->indexes.empty();
      });
  if (gathers && vector_bytes_ > kInlineCommitBytes) {
    round->closing = true;
    parts_.committers->Run([self = shared_from_this(), round] {
      self->AverageInBackground(round);
    });
    return;
  }
  absl::Status status;
  if (gathers) {
    absl::MutexLock lock(&staging_mutex_);
    status = gathered_->Ingest();
  }
  if (status.ok()) {
    SolveRound();
  } else {
    FailRound(status);
  }
}

void Session::AverageInBackground(const std::shared_ptr<Round>& round) {
  absl::Status status;
  {
    absl::MutexLock lock(&staging_mutex_);
    status = gathered_->Ingest();
  }
  absl::MutexLock lock(&mutex_);
  if (!round->failed.ok()) {
    // The session was closed meanwhile.
    absl::MutexLock staging_lock(&staging_mutex_);
    operator_->Reset();
  } else if (status.ok()) {
    SolveRound();
  } else {
    FailRound(status);
  }
}

void Session::SolveRound() {
  // All that can fail comes before the solve.
  const std::shared_ptr<Round> round = round_;
  absl::StatusOr<std::shared_ptr<Update>> update = updates_->Acquire();
  if (!update.ok()) {
    {
      absl::MutexLock lock(&staging_mutex_);
      operator_->Reset();
    }
    FailRound(update.status());
    return;
  }
  const RecordedLosses recorded = AverageLosses(*round);
  std::vector<int> active;
  for (const std::shared_ptr<Contribution>& part : round->contributions) {
    if (part != nullptr && !part->active.empty()) active = part->active;
  }
  auto solved = std::make_shared<SolvedStep>();
  solved->step = round->step;
  solved->update = *std::move(update);
  const absl::Time begun_at = parts_.clock->Now();
  absl::Status status;
  {
    absl::MutexLock lock(&staging_mutex_);
    status = operator_->Solve(recorded.indexes, recorded.values, active);
    if (status.ok()) {
      solved->result = MakeResult(*round);
    } else {
      operator_->Reset();
    }
  }
  if (!status.ok()) {
    FailRound(status);
    return;
  }
  CommitRound(std::move(solved), begun_at);
}

void Session::CommitRound(std::shared_ptr<SolvedStep> solved,
                          absl::Time begun_at) {
  const std::shared_ptr<Round> round = std::move(round_);
  round_ = nullptr;
  absl::StatusOr<v1::StepTrailer> trailer = v1::StepTrailer();
  const bool inline_commit = vector_bytes_ <= kInlineCommitBytes;
  solved->solved_at = parts_.clock->Now();
  solved->solve = solved->solved_at - begun_at;
  NoteAbsent(*round);
  solved->record = BeginRecord();
  Reached(Phase::kSolve);
  solved->ranks = RankTimes(*round, *solved);
  if (inline_commit) {
    absl::MutexLock lock(&staging_mutex_);
    trailer = Commit(*solved);
  }
  round->solved = solved;
  if (inline_commit) {
    Install(solved, std::move(trailer));
  } else {
    committing_ = solved;
    parts_.committers->Run([self = shared_from_this(), step = round->solved] {
      self->CommitInBackground(step);
    });
    Wake();
  }
}

std::shared_ptr<v1::StepResult> Session::BeginResult(const Round& round) const {
  auto result = std::make_shared<v1::StepResult>();
  result->set_step(round.step);
  result->set_epoch(epoch_);
  for (uint32_t rank = 0; rank < round.contributions.size(); ++rank) {
    const std::shared_ptr<Contribution>& part = round.contributions[rank];
    if (part == nullptr) {
      result->add_missing_ranks(rank);
      continue;
    }
    v1::Contributor* contributor = result->add_contributors();
    contributor->set_rank(part->rank);
    contributor->mutable_losses()->Add(part->indexes.begin(),
                                       part->indexes.end());
  }
  result->set_update_length(parts_.options.num_parameters());
  result->set_update_type(parts_.options.update_type());
  return result;
}

std::shared_ptr<const v1::StepResult> Session::MakeResult(
    const Round& round) const {
  const StepSolution& solution = *operator_->solution();
  std::shared_ptr<v1::StepResult> result = BeginResult(round);
  result->set_warming_up(solution.warming_up);
  FillSolution(solution.combination, result->mutable_solution());
  FillMatrix(solution.gram, result->mutable_gram());
  FillMatrix(solution.cosines, result->mutable_cosines());
  result->mutable_losses()->Add(solution.losses.begin(), solution.losses.end());
  result->mutable_stale_losses()->Add(solution.stale.begin(),
                                      solution.stale.end());
  return result;
}

absl::Status Session::CommitOperator(const SolvedStep& solved,
                                     v1::StepTrailer* trailer) {
  // A rule on columns has its direction's length and cosines from that pass.
  const bool with_update_cosines =
      parts_.options.update_cosines() || diagnostics_->is_watched() ||
      operator_->solution()->combination.columns.has_value();
  const absl::StatusOr<uint64_t> checksum =
      WriteUpdate(operator_.get(), parts_.kernels.get(), device_update_.get(),
                  update_half_, with_update_cosines, solved.update.get(),
                  [this] { Reached(Phase::kCommit); });
  if (!checksum.ok()) return checksum.status();
  const StepSolution& committed = *operator_->committed();
  trailer->set_checksum(*checksum);
  trailer->mutable_direction_cosines()->Add(committed.direction_cosines.begin(),
                                            committed.direction_cosines.end());
  trailer->mutable_update_cosines()->Add(committed.update_cosines.begin(),
                                         committed.update_cosines.end());
  return absl::OkStatus();
}

absl::StatusOr<v1::StepTrailer> Session::Commit(const SolvedStep& solved) {
  const absl::Time begun_at = parts_.clock->Now();
  v1::StepTrailer trailer;
  trailer.set_step(solved.step);
  trailer.set_epoch(solved.result->epoch());
  if (WasSkipped(*solved.result)) {
    trailer.set_checksum(WriteZeros(solved.update.get()));
    Reached(Phase::kCommit);
  } else {
    const absl::Status status = CommitOperator(solved, &trailer);
    if (!status.ok()) return status;
  }
  FillDuration(solved.solve, trailer.mutable_timings()->mutable_solve());
  FillDuration(parts_.clock->Now() - begun_at,
               trailer.mutable_timings()->mutable_commit());
  if (solved.record != nullptr) {
    Reached(Phase::kSwitch);
    const absl::Status kept = WriteRecord(
        CompleteRecord(*solved.record, solved.result.get(), &trailer));
    if (!kept.ok()) return kept;
    Reached(Phase::kTrailer);
  }
  return trailer;
}

void Session::CommitInBackground(
    const std::shared_ptr<const SolvedStep>& solved) {
  absl::StatusOr<v1::StepTrailer> trailer = v1::StepTrailer();
  {
    absl::MutexLock lock(&staging_mutex_);
    trailer = Commit(*solved);
  }
  absl::MutexLock lock(&mutex_);
  Install(solved, std::move(trailer));
}

void Session::Install(const std::shared_ptr<const SolvedStep>& solved,
                      absl::StatusOr<v1::StepTrailer> trailer) {
  committing_ = nullptr;
  if (!trailer.ok()) {
    const absl::Status reason = absl::InternalError(absl::StrCat(
        "the session's state was lost when its device failed inside step ",
        solved->step, ": ", trailer.status().message()));
    solved->update->Fail(reason);
    CloseLocked(reason);
    return;
  }
  KeepInHistory();
  committed_step_ = solved->step;
  committed_.step = solved->step;
  committed_.result = solved->result;
  committed_.trailer = *trailer;
  committed_.update = solved->update;
  if (parts_.options.update_history() > 0 ||
      (parts_.state == nullptr &&
       std::holds_alternative<NoMomentumOptions>(operator_options_.momentum))) {
    committed_.kept = solved->update;
  }
  ApplyPending();
  if (CheckpointIsDue()) TakeCheckpointLater();
  committed_.ranks = solved->ranks;
  committed_.time = parts_.clock->Now();
  diagnostics_->Publish([this] {
    mutex_.AssertHeld();
    return CollectFacts();
  });
  statistics_->CountStep(*committed_.result, committed_.trailer);
  if (parts_.on_commit != nullptr) {
    parts_.on_commit(*committed_.result, committed_.trailer);
  }
  // Readers see the step committed before they see its trailer.
  solved->update->Complete(*std::move(trailer));
  Wake();
}

SolvedStep Session::CommittedStep() const {
  SolvedStep step;
  step.step = committed_.step;
  step.result = committed_.result;
  step.update = committed_.update.lock();
  return step;
}

absl::StatusOr<SolvedStep> Session::Recompute() {
  SolvedStep step = CommittedStep();
  if (step.update != nullptr) return step;
  absl::StatusOr<std::shared_ptr<Update>> update = updates_->Acquire();
  if (!update.ok()) return update.status();
  absl::StatusOr<uint64_t> checksum = uint64_t{0};
  {
    absl::MutexLock lock(&staging_mutex_);
    checksum = RewriteCommitted(step.result.get(), update->get());
  }
  if (!checksum.ok()) return checksum.status();
  if (*checksum != committed_.trailer.checksum()) {
    return absl::InternalError(absl::StrCat("the recomputed update of step ",
                                            step.step,
                                            " is not the committed one"));
  }
  (*update)->Complete(committed_.trailer);
  committed_.update = *update;
  step.update = *std::move(update);
  return step;
}

StepReply Session::MakeReply(const Stream& stream, const SolvedStep& solved,
                             bool repeated) const {
  StepReply reply;
  reply.update = solved.update;
  reply.result = solved.result;
  const bool dropped = absl::c_none_of(
      solved.result->contributors(), [&](const v1::Contributor& contributor) {
        return contributor.rank() == stream.rank;
      });
  if (repeated || dropped) {
    auto result = std::make_shared<v1::StepResult>(*solved.result);
    result->set_repeated(repeated);
    result->set_dropped(dropped);
    reply.result = std::move(result);
    return reply;
  }
  const Contribution& own = *stream.contribution;
  FillDuration(
      std::max(absl::ZeroDuration(), own.complete_at - stream.begun_at),
      reply.timings.mutable_receive());
  FillDuration(std::max(absl::ZeroDuration(),
                        solved.solved_at - solved.solve - own.complete_at),
               reply.timings.mutable_wait());
  return reply;
}

}  // namespace concord
