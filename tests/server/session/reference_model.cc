#include "tests/server/session/reference_model.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"

namespace concord {
namespace {

using Expected = ReferenceModel::Expected;

Expected Answer(const std::string& reason) { return {.reasons = {reason}}; }

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;

}  // namespace

// ---- Creation and its end ----

Expected ReferenceModel::Create(const std::string& uid) {
  if (exists_) return Answer("SESSION_EXISTS");
  uid_ = uid;
  auto empty = std::make_shared<Commit>();
  empty->momentum = std::make_shared<PlainMomentum>(
      options_.num_vectors, options_.num_parameters, kBeta1, kBeta2);
  Start(std::move(empty), 1);
  return Answer("OK");
}

void ReferenceModel::Start(std::shared_ptr<const Commit> state,
                           uint64_t epoch) {
  exists_ = true;
  ranks_.assign(options_.num_workers, {});
  TakeUp({epoch, std::move(state), ranks_});
}

Expected ReferenceModel::Delete(const std::string& uid) {
  if (!exists_) return Answer("SESSION_NOT_FOUND");
  if (!uid.empty() && uid != uid_) return Answer("SESSION_REPLACED");
  FailRound("SESSION_NOT_FOUND");
  for (const Rank& rank : ranks_) End(rank.stream, "SESSION_NOT_FOUND");
  exists_ = false;
  checkpoints_.clear();
  return Answer("OK");
}

// ---- A worker's stream ----

Expected ReferenceModel::Join(int stream, const JoinRequest& join) {
  if (!exists_) return Answer("SESSION_NOT_FOUND");
  if (join.rank >= options_.num_workers) return Answer("RANK_OUT_OF_RANGE");
  if (join.incarnation == 0) return Answer("PROTOCOL_VIOLATION");
  if (!join.uid.empty() && join.uid != uid_) return Answer("SESSION_REPLACED");
  if (join.epoch != 0 && join.epoch != epoch_) return Answer("EPOCH_CHANGED");
  Rank& rank = ranks_[join.rank];
  if (join.incarnation != rank.incarnation) {
    if (absl::c_linear_search(rank.replaced, join.incarnation)) {
      return Answer("SUPERSEDED");
    }
    const uint64_t committed = committed_->step;
    if (committed > 0 && join.resume_step.has_value() &&
        *join.resume_step < committed &&
        Find(*join.resume_step + 1) == nullptr) {
      return Answer("RESYNC_WEIGHTS");
    }
    if (committed > 0 && join.resume_step.value_or(~0ull) > committed) {
      return Answer("SESSION_IN_PROGRESS");
    }
  }
  End(rank.stream, "SUPERSEDED");
  if (join.incarnation != rank.incarnation) {
    if (rank.incarnation != 0) rank.replaced.push_back(rank.incarnation);
    rank.incarnation = join.incarnation;
    rank.step = rank.attempt = 0;
  }
  rank.stream = stream;
  streams_[stream].rank = join.rank;
  return Answer("OK");
}

Expected ReferenceModel::Begin(int number, const Header& header) {
  Stream& stream = streams_.at(number);
  if (!stream.ended.empty()) return Answer(stream.ended);
  if (stream.busy) return Answer("PROTOCOL_VIOLATION");
  Rank& rank = ranks_[stream.rank];
  const uint64_t committed = committed_->step;
  const uint64_t step = header.step;
  if (header.epoch != epoch_) return Answer("EPOCH_CHANGED");
  if (step > committed + 1) return Answer("STEP_AHEAD");
  if (step == 0) return Answer("STEP_STALE");
  if (step < committed && rank.step > step) return Answer("STEP_STALE");
  if (step < committed && Find(step) == nullptr) {
    return Answer("RESYNC_WEIGHTS");
  }
  if (step == rank.step && header.attempt < rank.attempt) {
    return Answer("SUPERSEDED");
  }
  rank.step = step;
  rank.attempt = header.attempt;
  stream.round = nullptr;
  if (step <= committed) {
    stream.replay = Find(step);
  } else {
    if (round_ == nullptr) {
      round_ = std::make_shared<Round>();
      round_->step = step;
      round_->deadline = now_ + options_.round_timeout;
    }
    // A contribution that is there is complete and stays as it is.
    if (!round_->contributions.contains(stream.rank)) {
      for (const auto& [other, present] : round_->contributions) {
        for (const auto& [loss, gradient] : header.gradients) {
          if (present.gradients.contains(loss)) {
            return Answer("DUPLICATE_INDEX");
          }
        }
      }
      round_->contributions[stream.rank] = {number, header.gradients};
    }
    stream.round = round_;
    rank.absent = false;
  }
  stream.busy = true;
  return Answer("OK");
}

Expected ReferenceModel::SendPart(int number) const {
  const Stream& stream = streams_.at(number);
  Expected expected = Answer("OK");
  // Whoever sends learns of the end now or when it asks for the answer.
  if (!stream.ended.empty()) expected.reasons.insert(stream.ended);
  if (stream.round != nullptr && !stream.round->failed.empty()) {
    expected.reasons.insert(stream.round->failed);
  }
  return expected;
}

Expected ReferenceModel::Finish(int number) {
  Stream& stream = streams_.at(number);
  const std::shared_ptr<Round> round = stream.round;
  if (!stream.ended.empty()) {
    Expected expected = Answer(stream.ended);
    if (round != nullptr && !round->failed.empty()) {
      expected.reasons.insert(round->failed);
    }
    return expected;
  }
  Expected expected = Answer("OK");
  if (round == nullptr) {
    expected.commit = stream.replay;
    expected.repeated = true;
    // Another step was committed since the header: the update may be gone.
    if (Find(stream.replay->step) == nullptr) {
      expected.reasons.insert("RESYNC_WEIGHTS");
    }
  } else {
    const auto own = round->contributions.find(stream.rank);
    if (round == round_ && own->second.stream == number &&
        !own->second.complete) {
      for (const auto& [loss, gradient] : own->second.gradients) {
        if (!gradient.allFinite()) return Answer("NON_FINITE");
      }
      own->second.complete = true;
      if (NumComplete() == options_.min_workers) round->quorum_at = now_;
      Settle();
    }
    if (!round->failed.empty()) return Answer(round->failed);
    if (round->solved == nullptr) return Answer("WAITS");
    expected.commit = round->solved;
  }
  expected.dropped = !expected.commit->contributors.contains(stream.rank);
  stream.busy = false;
  stream.round = nullptr;
  return expected;
}

Expected ReferenceModel::Leave(int number) {
  const Stream& stream = streams_.at(number);
  if (!stream.ended.empty()) return Answer(stream.ended);
  Withdraw(number);
  ranks_[stream.rank].absent = true;
  Settle();
  return Answer("OK");
}

void ReferenceModel::Close(int number) {
  Withdraw(number);
  const uint32_t rank = streams_.at(number).rank;
  if (ranks_[rank].stream == number) ranks_[rank].stream = -1;
  streams_.erase(number);
}

void ReferenceModel::End(int number, const std::string& reason) {
  if (!streams_.contains(number)) return;
  Withdraw(number);
  std::string& ended = streams_.at(number).ended;
  if (ended.empty()) ended = reason;
}

void ReferenceModel::Withdraw(int number) {
  if (round_ == nullptr) return;
  const uint32_t rank = streams_.at(number).rank;
  const auto own = round_->contributions.find(rank);
  if (own == round_->contributions.end() || own->second.stream != number ||
      own->second.complete) {
    return;
  }
  round_->contributions.erase(own);
  if (round_->contributions.empty()) round_ = nullptr;
}

// ---- The round ----

void ReferenceModel::Advance(absl::Duration duration) {
  now_ += duration;
  Settle();
}

size_t ReferenceModel::NumComplete() const {
  return absl::c_count_if(round_->contributions, [](const auto& part) {
    return part.second.complete;
  });
}

void ReferenceModel::Settle() {
  if (round_ == nullptr) return;
  bool all_there = true;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    const auto own = round_->contributions.find(rank);
    if (own == round_->contributions.end() ? !ranks_[rank].absent
                                           : !own->second.complete) {
      all_there = false;
    }
  }
  const uint32_t needed =
      options_.min_workers == 0 ? options_.num_workers : options_.min_workers;
  const absl::Duration end = std::min(
      round_->deadline, round_->quorum_at + options_.straggler_timeout);
  if (NumComplete() >= needed && (all_there || now_ >= end)) {
    Solve();
  } else if (now_ >= round_->deadline) {
    FailRound("ROUND_TIMEOUT");
  }
}

void ReferenceModel::FailRound(const std::string& reason) {
  if (round_ == nullptr) return;
  round_->failed = reason;
  round_ = nullptr;
}

void ReferenceModel::Solve() {
  std::map<int, Eigen::VectorXd> gradients;
  auto commit = std::make_shared<Commit>();
  commit->step = round_->step;
  for (const auto& [rank, part] : round_->contributions) {
    if (!part.complete) continue;
    std::set<int>& losses = commit->contributors[rank];
    for (const auto& [loss, gradient] : part.gradients) losses.insert(loss);
    gradients.insert(part.gradients.begin(), part.gradients.end());
  }
  if (gradients.empty()) return FailRound("EMPTY_ROUND");
  std::vector<int> indexes;
  Eigen::MatrixXd rows(gradients.size(), options_.num_parameters);
  for (const auto& [loss, gradient] : gradients) {
    rows.row(static_cast<Eigen::Index>(indexes.size())) = gradient;
    indexes.push_back(loss);
  }
  PlainMomentum momentum = *committed_->momentum;
  commit->update = momentum.Step(indexes, rows);
  commit->momentum = std::make_shared<PlainMomentum>(momentum);
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!commit->contributors.contains(rank)) ranks_[rank].absent = true;
  }
  if (in_memory_ && options_.update_history > 0) {
    history_.push_back(committed_);
    if (history_.size() > options_.update_history) history_.pop_front();
  }
  committed_ = std::move(commit);
  in_memory_ = true;
  has_checkpoint_ = false;
  round_->solved = committed_;
  round_ = nullptr;
  Keep();
}

std::shared_ptr<const ReferenceModel::Commit> ReferenceModel::Find(
    uint64_t step) const {
  if (step == committed_->step) return committed_;
  for (const auto& kept : history_) {
    if (kept->step == step) return kept;
  }
  return nullptr;
}

std::set<uint32_t> ReferenceModel::Absent() const {
  std::set<uint32_t> absent;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (ranks_[rank].absent) absent.insert(rank);
  }
  return absent;
}

// ---- Checkpoints, and the server's end ----

Expected ReferenceModel::TakeCheckpoint() {
  if (!exists_) return Answer("SESSION_NOT_FOUND");
  if (options_.keeps == Keeps::kNothing) return Answer("NOT_DURABLE");
  if (has_checkpoint_) return Answer("OK");  // There already.
  std::erase_if(checkpoints_, [&](const auto& checkpoint) {
    return checkpoint->step == committed_->step;
  });
  checkpoints_.push_back(committed_);
  if (checkpoints_.size() > options_.keep_checkpoints) {
    checkpoints_.erase(checkpoints_.begin());
  }
  has_checkpoint_ = true;
  return Answer("OK");
}

Expected ReferenceModel::Restore(std::optional<uint64_t> step,
                                 const std::string& uid) {
  const auto found = absl::c_find_if(checkpoints_, [&](const auto& checkpoint) {
    return checkpoint->step == step.value_or(checkpoints_.back()->step);
  });
  if (found == checkpoints_.end()) return Answer("CHECKPOINT_NOT_FOUND");
  if (!exists_) {
    uid_ = uid;
    Start(*found, 2);
    return Answer("OK");
  }
  FailRound("EPOCH_CHANGED");
  for (Rank& rank : ranks_) {
    End(rank.stream, "EPOCH_CHANGED");
    rank.step = rank.attempt = 0;
    rank.absent = false;
  }
  TakeUp({epoch_ + 1, *found, ranks_});
  return Answer("OK");
}

std::set<uint64_t> ReferenceModel::Checkpoints() const {
  std::set<uint64_t> steps;
  for (const auto& checkpoint : checkpoints_) steps.insert(checkpoint->step);
  return steps;
}

void ReferenceModel::Keep() {
  before_last_ = std::exchange(last_, {epoch_, committed_, ranks_});
}

void ReferenceModel::TakeUp(const Record& record) {
  epoch_ = record.epoch;
  committed_ = record.committed;
  ranks_ = record.ranks;
  history_.clear();
  in_memory_ = has_checkpoint_ = false;
  Keep();
}

void ReferenceModel::RestartCleanly() {
  Keep();
  Crash(/*before_last_commit=*/false);
}

void ReferenceModel::Crash(bool before_last_commit) {
  round_ = nullptr;
  streams_.clear();
  if (options_.keeps != Keeps::kSteps) exists_ = false;
  if (!exists_) return;
  Record record = before_last_commit ? before_last_ : last_;
  // Streams and attempts are the process's own.
  for (Rank& rank : record.ranks) {
    rank.stream = -1;
    rank.step = rank.attempt = 0;
  }
  TakeUp(record);
}

}  // namespace concord
