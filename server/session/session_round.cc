// Session: collecting a round's contributions.
#include <cmath>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/btree_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "server/session/session.h"

namespace concord {
namespace {

bool IsWeight(double weight) {
  return weight == 0 || (std::isfinite(weight) && weight > 0);
}

absl::Status CheckIndex(const std::string& field, uint32_t index,
                        uint32_t num_vectors,
                        absl::InlinedVector<uint32_t, 16>* seen) {
  if (index >= num_vectors) {
    return InvalidField("INDEX_OUT_OF_RANGE", field, absl::StrCat(index),
                        absl::StrCat("0 … ", num_vectors - 1));
  }
  if (absl::c_linear_search(*seen, index)) {
    return InvalidField("DUPLICATE_INDEX", field, absl::StrCat(index),
                        "every loss at most once per header");
  }
  seen->push_back(index);
  return absl::OkStatus();
}

std::string FieldOf(const char* list, int position, const char* field) {
  return absl::StrCat("header.", list, "[", position, "].", field);
}

absl::Status BroughtByOthers(int position, uint32_t index,
                             const std::vector<uint32_t>& ranks) {
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"DUPLICATE_INDEX",
       FieldOf("vectors", position, "index"),
       absl::StrCat(index),
       ranks.size() == 1
           ? absl::StrCat("a loss that rank ", ranks.front(),
                          " has not brought to this round already")
           : absl::StrCat("a loss that ranks ", absl::StrJoin(ranks, ", "),
                          " have not brought to this round already"),
       {{"rank", absl::StrCat(ranks.front())}}});
}

double WeightOf(double sample_weight) {
  return sample_weight == 0 ? 1 : sample_weight;
}

absl::Status OutOfTurn(const v1::StepHeader& header, uint32_t accepted) {
  return InvalidField("PROTOCOL_VIOLATION", "header.accumulation.micro_batch",
                      header.has_accumulation()
                          ? absl::StrCat(header.accumulation().micro_batch())
                          : "not set",
                      absl::StrCat(accepted));
}

// What counts of a header besides its vectors; of several micro-batches the
// last one's.
void ReadHeader(const v1::StepHeader& header, Contribution* contribution) {
  contribution->loss_indexes.clear();
  contribution->losses.clear();
  contribution->loss_weights.clear();
  for (const v1::LossValue& loss : header.losses()) {
    contribution->loss_indexes.push_back(static_cast<int>(loss.index()));
    contribution->losses.push_back(loss.value());
    contribution->loss_weights.push_back(WeightOf(loss.sample_weight()));
  }
  contribution->active.assign(header.active().begin(), header.active().end());
  absl::c_sort(contribution->active);
}

// Ranks that name active losses must name the same ones.
absl::Status CheckActive(const v1::StepHeader& header,
                         const Contribution& other) {
  if (header.active_size() == 0 || other.active.empty()) {
    return absl::OkStatus();
  }
  std::vector<int> active(header.active().begin(), header.active().end());
  absl::c_sort(active);
  if (active == other.active) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"ACTIVE_MISMATCH",
       "header.active",
       absl::StrJoin(active, ","),
       absl::StrJoin(other.active, ","),
       {{"rank", absl::StrCat(other.rank)}}},
      absl::StrCat("rank ", other.rank, " of the round came first"));
}

}  // namespace

absl::Status Session::CheckHeader(const v1::StepHeader& header) const {
  const v1::Session& options = parts_.options;
  if (header.attempt() == 0) {
    return InvalidField("PROTOCOL_VIOLATION", "header.attempt", "0", ">= 1");
  }
  if (header.layout_hash() != 0 &&
      header.layout_hash() != options.layout_hash()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"LAYOUT_MISMATCH",
         "header.layout_hash",
         absl::StrCat(header.layout_hash()),
         absl::StrCat(options.layout_hash()),
         {{"layout_hash", absl::StrCat(options.layout_hash())}}},
        options.layout_hash() == 0
            ? "the session has no layout"
            : "a hash does not tell where they differ; CreateSession with the "
              "whole layout names the first segment");
  }
  absl::InlinedVector<uint32_t, 16> seen;
  for (int i = 0; i < header.vectors_size(); ++i) {
    const v1::VectorHeader& vector = header.vectors(i);
    const auto field = [i](const char* name) {
      return FieldOf("vectors", i, name);
    };
    if (vector.index() >= options.num_vectors() ||
        absl::c_linear_search(seen, vector.index())) {
      return CheckIndex(field("index"), vector.index(), options.num_vectors(),
                        &seen);
    }
    seen.push_back(vector.index());
    if (vector.data_type() != options.gradient_type()) {
      return InvalidField("DATA_TYPE_MISMATCH", field("data_type"),
                          NameOf(vector.data_type()),
                          NameOf(options.gradient_type()));
    }
    if (vector.length() != options.num_parameters()) {
      return InvalidField("LENGTH_MISMATCH", field("length"),
                          absl::StrCat(vector.length()),
                          absl::StrCat(options.num_parameters()));
    }
    if (!IsWeight(vector.sample_weight())) {
      return InvalidField(
          std::isfinite(vector.sample_weight()) ? "INVALID_OPTION"
                                                : "NON_FINITE",
          field("sample_weight"), absl::StrCat(vector.sample_weight()),
          "0 (for 1) or a finite number > 0");
    }
    if (vector.stripe() != 0) {
      return InvalidField("INVALID_OPTION", field("stripe"),
                          absl::StrCat(vector.stripe()), "0");
    }
  }
  const uint32_t most = options.max_vectors_per_step();
  if (seen.size() > most) {
    return InvalidField("TOO_MANY_VECTORS", "header.vectors",
                        absl::StrCat(seen.size()),
                        absl::StrCat("at most ", most, " per step"));
  }
  if (header.losses_size() > 0 && !options.options().has_loss_recorder()) {
    return InvalidField("LOSSES_WITHOUT_RECORDER", "header.losses",
                        absl::StrCat(header.losses_size(), " values"),
                        "none: the session has no loss recorder");
  }
  seen.clear();
  for (int i = 0; i < header.losses_size(); ++i) {
    const v1::LossValue& loss = header.losses(i);
    const absl::Status status =
        CheckIndex(FieldOf("losses", i, "index"), loss.index(),
                   options.num_vectors(), &seen);
    if (!status.ok()) return status;
    if (!std::isfinite(loss.value()) && !skips_non_finite()) {
      return InvalidField("NON_FINITE", FieldOf("losses", i, "value"),
                          absl::StrCat(loss.value()), "a finite number");
    }
    if (!IsWeight(loss.sample_weight())) {
      return InvalidField(
          std::isfinite(loss.sample_weight()) ? "INVALID_OPTION" : "NON_FINITE",
          FieldOf("losses", i, "sample_weight"),
          absl::StrCat(loss.sample_weight()),
          "0 (for 1) or a finite number > 0");
    }
  }
  seen.clear();
  for (int i = 0; i < header.active_size(); ++i) {
    const absl::Status status =
        CheckIndex(absl::StrCat("header.active[", i, "]"), header.active(i),
                   options.num_vectors(), &seen);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Session::CheckStep(uint32_t rank,
                                const v1::StepHeader& header) const {
  if (header.epoch() != epoch_) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"EPOCH_CHANGED",
                      "header.epoch",
                      absl::StrCat(header.epoch()),
                      absl::StrCat(epoch_),
                      {{"epoch", absl::StrCat(epoch_)}}});
  }
  const uint64_t step = header.step();
  const RankSlot& slot = ranks_[rank];
  if (step == 0 || step > committed_step_ + 1 ||
      (step < committed_step_ && slot.step > step)) {
    return StepError(step);
  }
  if (step == committed_step_ && committed_.result == nullptr) {
    // Put there by a state that came without its update.
    return ResyncError("header.step", step, step + 1);
  }
  if (step < committed_step_ && FindInHistory(step) == nullptr) {
    return ResyncError("header.step", step, OldestStep());
  }
  if (slot.step == step && header.attempt() < slot.attempt) {
    return MakeError(absl::StatusCode::kAborted,
                     {"SUPERSEDED",
                      "header.attempt",
                      absl::StrCat(header.attempt()),
                      absl::StrCat(">= ", slot.attempt),
                      {{"rank", absl::StrCat(rank)},
                       {"incarnation", absl::StrCat(slot.incarnation)}}},
                     "a newer attempt of this rank took over");
  }
  return absl::OkStatus();
}

absl::Status Session::AwaitCommit(Stream* stream,
                                  absl::FunctionRef<bool()> is_cancelled) {
  while (committing_ != nullptr && stream->ended.ok()) {
    if (is_cancelled()) return absl::CancelledError("the stream was cancelled");
    Sleep(stream, absl::InfiniteDuration());
  }
  return stream->ended;
}

absl::StatusOr<std::shared_ptr<Contribution>> Session::Begin(
    Stream* stream, const v1::StepHeader& header) {
  absl::Status status = CheckHeader(header);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  if (!stream->ended.ok()) return stream->ended;
  if (stream->busy && stream->accumulates) {
    status = BeginMicroBatch(stream, header);
    if (!status.ok()) return status;
    return TakesVectors(*stream) ? stream->contribution : nullptr;
  }
  if (stream->busy) {
    return InvalidField("PROTOCOL_VIOLATION", "header.step",
                        absl::StrCat(header.step()),
                        "no header before the step under way has ended");
  }
  if (header.accumulation().micro_batch() != 0) return OutOfTurn(header, 0);
  stream->begun_at = last_used_ = parts_.clock->Now();
  CheckRound(stream->begun_at);
  status = CheckStep(stream->rank, header);
  if (!status.ok()) return status;
  RankSlot& slot = ranks_[stream->rank];
  slot.step = header.step();
  slot.attempt = header.attempt();
  stream->step = header.step();
  stream->round = nullptr;
  stream->contribution = nullptr;
  if (header.step() == committed_step_) {
    stream->replay = CommittedStep();
  } else if (header.step() < committed_step_) {
    stream->replay = *FindInHistory(header.step());
  } else if (committing_ != nullptr) {
    stream->replay = *committing_;
  } else {
    status = JoinRound(stream, header);
    if (!status.ok()) return status;
  }
  stream->busy = true;
  ++busy_;
  stream->accumulates =
      header.has_accumulation() && !header.accumulation().last();
  stream->next_micro_batch = 1;
  return TakesVectors(*stream) ? stream->contribution : nullptr;
}

bool Session::TakesVectors(const Stream& stream) const {
  return stream.contribution != nullptr && round_ == stream.round &&
         round_->contributions[stream.rank] == stream.contribution &&
         !stream.contribution->counted;
}

absl::Status Session::BeginMicroBatch(Stream* stream,
                                      const v1::StepHeader& header) {
  if (!header.has_accumulation() ||
      header.accumulation().micro_batch() != stream->next_micro_batch) {
    return OutOfTurn(header, stream->next_micro_batch);
  }
  const RankSlot& slot = ranks_[stream->rank];
  if (header.step() != stream->step || header.attempt() != slot.attempt ||
      header.epoch() != epoch_) {
    return InvalidField(
        "PROTOCOL_VIOLATION", "header.step",
        absl::StrCat(header.step(), ", attempt ", header.attempt()),
        absl::StrCat(stream->step, ", attempt ", slot.attempt,
                     ": the step whose micro-batches are coming"));
  }
  last_used_ = parts_.clock->Now();
  CheckRound(last_used_);
  if (stream->round != nullptr && !stream->round->failed.ok()) {
    return stream->round->failed;
  }
  if (TakesVectors(*stream)) {
    absl::Status status = CheckAgainstRound(stream->rank, header);
    if (status.ok()) status = StageRows(header, stream->contribution.get());
    if (!status.ok()) return status;
    ReadHeader(header, stream->contribution.get());
  }
  stream->accumulates = !header.accumulation().last();
  ++stream->next_micro_batch;
  return absl::OkStatus();
}

absl::Status Session::CheckAgainstRound(uint32_t rank,
                                        const v1::StepHeader& header) const {
  absl::btree_set<int> losses;
  for (const std::shared_ptr<Contribution>& present : round_->contributions) {
    if (present == nullptr) continue;
    losses.insert(present->indexes.begin(), present->indexes.end());
    if (present->rank == rank) continue;
    const absl::Status status = CheckActive(header, *present);
    if (!status.ok()) return status;
  }
  for (int i = 0; i < header.vectors_size(); ++i) {
    const int index = static_cast<int>(header.vectors(i).index());
    if (!losses.insert(index).second) {
      std::vector<uint32_t> others;
      for (const std::shared_ptr<Contribution>& other : round_->contributions) {
        if (other != nullptr && other->rank != rank &&
            absl::c_linear_search(other->indexes, index)) {
          others.push_back(other->rank);
        }
      }
      if (others.size() >= parts_.options.max_ranks_per_vector()) {
        return BroughtByOthers(i, header.vectors(i).index(), others);
      }
    }
  }
  const uint32_t most = parts_.options.max_vectors_per_step();
  if (losses.size() > most) {
    return InvalidField("TOO_MANY_VECTORS", "header.vectors",
                        absl::StrCat(losses.size(), " of all ranks together"),
                        absl::StrCat("at most ", most, " per step"));
  }
  return absl::OkStatus();
}

absl::Status Session::JoinRound(Stream* stream, const v1::StepHeader& header) {
  std::shared_ptr<Round> round = round_;
  if (round == nullptr) {
    if (draining_) {
      return MakeError(absl::StatusCode::kUnavailable,
                       {"DRAINING", "", "", "", {}},
                       "the server is shutting down and begins no round");
    }
    round = NewRound(header.step(), stream->begun_at);
  } else {
    std::shared_ptr<Contribution>& present = round->contributions[stream->rank];
    if (present != nullptr) {
      // Complete on an older stream: an incomplete one left with its stream.
      stream->round = round;
      stream->contribution = present;
      ranks_[stream->rank].absent = false;
      return absl::OkStatus();
    }
    if (round->closing) {
      // Too late: it waits for what the others get.
      stream->round = round;
      return absl::OkStatus();
    }
    const absl::Status status = CheckAgainstRound(stream->rank, header);
    if (!status.ok()) return status;
  }
  auto contribution = std::make_shared<Contribution>();
  contribution->rank = stream->rank;
  contribution->begun_at = stream->begun_at;
  contribution->gathers =
      parts_.options.max_ranks_per_vector() > 1 || header.has_accumulation();
  ReadHeader(header, contribution.get());
  const absl::Status status = StageRows(header, contribution.get());
  if (!status.ok()) return status;
  round->contributions[stream->rank] = contribution;
  ++round->joined;
  round_ = round;
  ranks_[stream->rank].absent = false;
  stream->round = std::move(round);
  stream->contribution = std::move(contribution);
  Reached(Phase::kReceive);
  return absl::OkStatus();
}

absl::Status Session::StageRows(const v1::StepHeader& header,
                                Contribution* contribution) {
  if (header.vectors().empty()) {
    absl::MutexLock lock(&staging_mutex_);
    contribution->arriving.clear();
    return absl::OkStatus();
  }
  absl::MutexLock lock(&staging_mutex_);
  if (contribution->gathers) return GatherRows(header, contribution);
  for (const v1::VectorHeader& vector : header.vectors()) {
    const int index = static_cast<int>(vector.index());
    absl::StatusOr<MomentumOperator::StagedRow*> row = operator_->Stage(index);
    if (!row.ok()) {
      for (MomentumOperator::StagedRow* staged : contribution->rows) {
        operator_->Drop(staged);
      }
      contribution->rows.clear();
      return row.status();
    }
    contribution->indexes.push_back(index);
    contribution->rows.push_back(*row);
  }
  return absl::OkStatus();
}

absl::Status Session::GatherRows(const v1::StepHeader& header,
                                 Contribution* contribution) {
  const auto known = [&](uint32_t index) {
    return absl::c_find(contribution->indexes, static_cast<int>(index)) -
           contribution->indexes.begin();
  };
  if (parts_.options.max_ranks_per_vector() == 1) {
    // Only micro-batches need memory, which is therefore not reserved.
    size_t more = 0;
    for (const v1::VectorHeader& vector : header.vectors()) {
      more += known(vector.index()) ==
              static_cast<ptrdiff_t>(contribution->indexes.size());
    }
    if (more > gathered_->free_rows()) {
      more -= gathered_->free_rows();
      const uint64_t bytes = GatheredRows::MemoryBytes(operator_options_, more);
      auto reservation = parts_.budget->Reserve(bytes);
      if (!reservation.ok()) return reservation.status();
      const absl::Status status = gathered_->AddMemory(more);
      if (!status.ok()) return status;
      more_reserved_.push_back(*std::move(reservation));
      current_.set_memory_bytes(current_.memory_bytes() + bytes);
    }
  }
  const size_t before = contribution->gathered.size();
  contribution->arriving.clear();
  absl::Status status;
  for (const v1::VectorHeader& vector : header.vectors()) {
    const size_t position = known(vector.index());
    if (position == contribution->indexes.size()) {
      const int index = static_cast<int>(vector.index());
      const absl::StatusOr<GatheredRows::Row*> row =
          gathered_->Open(index, contribution->rank);
      status = row.status();
      if (!status.ok()) break;
      contribution->indexes.push_back(index);
      contribution->gathered.push_back(*row);
    } else {
      status = gathered_->Add(contribution->gathered[position]);
      if (!status.ok()) break;
    }
    GatheredRows::Row* const row = contribution->gathered[position];
    gathered_->SetWeight(row, WeightOf(vector.sample_weight()));
    contribution->arriving.push_back(row);
  }
  if (!status.ok()) {
    for (size_t i = before; i < contribution->gathered.size(); ++i) {
      gathered_->Drop(contribution->gathered[i]);
    }
    contribution->gathered.resize(before);
    contribution->indexes.resize(before);
  }
  return status;
}

absl::Status Session::Append(Contribution* contribution, size_t vector,
                             absl::Span<const absl::Span<const std::byte>> data,
                             bool ends_vector, GradientWidener* widener) {
  absl::ReaderMutexLock lock(&staging_mutex_);
  if (!contribution->given_up.ok()) return contribution->given_up;
  if (contribution->late) return absl::OkStatus();
  const auto append =
      [&](absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> take) {
        absl::Status status;
        for (size_t i = 0; i < data.size() && status.ok(); ++i) {
          status = widener == nullptr ? take(data[i])
                                      : widener->Widen(data[i], take);
        }
        return status;
      };
  if (contribution->gathers) {
    GatheredRows::Row* const row = contribution->arriving[vector];
    const absl::Status status = append([&](absl::Span<const std::byte> bytes) {
      staging_mutex_.AssertReaderHeld();
      return gathered_->Append(row, bytes);
    });
    if (!status.ok() || !ends_vector) return status;
    return Completed(contribution, row->index(), gathered_->Complete(row));
  }
  MomentumOperator::StagedRow* const row = contribution->rows[vector];
  const absl::Status status = append([&](absl::Span<const std::byte> bytes) {
    staging_mutex_.AssertReaderHeld();
    return operator_->Append(row, bytes);
  });
  if (!status.ok()) return status;
  Reached(Phase::kIngest);
  if (!ends_vector) return absl::OkStatus();
  return Completed(contribution, row->index(), operator_->Complete(row));
}

absl::Status Session::Completed(Contribution* contribution, int index,
                                const absl::Status& complete) const {
  if (complete.ok() || !skips_non_finite() ||
      GetErrorReason(complete) != "NON_FINITE") {
    return complete;
  }
  // A later micro-batch's sum has it still.
  if (!absl::c_linear_search(contribution->non_finite, index)) {
    contribution->non_finite.push_back(index);
  }
  return absl::OkStatus();
}

void Session::GiveUp(Contribution* contribution, const absl::Status& reason) {
  absl::MutexLock lock(&staging_mutex_);
  contribution->given_up = reason;
  contribution->late = reason.ok();
  for (MomentumOperator::StagedRow* row : contribution->rows) {
    operator_->Drop(row);
  }
  contribution->rows.clear();
  for (GatheredRows::Row* row : contribution->gathered) gathered_->Drop(row);
  contribution->gathered.clear();
}

void Session::Withdraw(Stream* stream, const absl::Status& reason) {
  if (round_ == nullptr || stream->round != round_) return;
  std::shared_ptr<Contribution>& present = round_->contributions[stream->rank];
  if (present == nullptr || present != stream->contribution ||
      present->counted) {
    return;
  }
  GiveUp(present.get(), reason);
  present = nullptr;
  if (--round_->joined == 0) {
    round_ = nullptr;
    ApplyPending();
    Wake();
  }
}

void Session::FailRound(const absl::Status& reason) {
  const std::shared_ptr<Round> round = std::move(round_);
  round_ = nullptr;
  round->failed = reason;
  for (const std::shared_ptr<Contribution>& present : round->contributions) {
    if (present != nullptr) GiveUp(present.get(), reason);
  }
  ApplyPending();
  Wake();
}

absl::StatusOr<StepReply> Session::Finish(
    Stream* stream, absl::FunctionRef<bool()> is_cancelled) {
  absl::MutexLock lock(&mutex_);
  if (!stream->ended.ok()) return stream->ended;
  if (!stream->busy) {
    return InvalidField("PROTOCOL_VIOLATION", "header", "none",
                        "a header before the step's end");
  }
  const std::shared_ptr<Round> round = stream->round;
  if (round == nullptr) {
    if (stream->replay.update == nullptr) {
      const absl::Status status = AwaitCommit(stream, is_cancelled);
      if (!status.ok()) return status;
      if (committed_step_ != stream->step) {
        // The others have gone on since its header.
        return ResyncError("header.step", stream->step, OldestStep());
      }
      absl::StatusOr<SolvedStep> solved = Recompute();
      if (!solved.ok()) return solved.status();
      stream->replay = *std::move(solved);
    }
    return MakeReply(*stream, stream->replay, /*repeated=*/true);
  }
  const absl::Time complete_at = parts_.clock->Now();
  CheckRound(complete_at);
  Count(stream, complete_at);
  CheckRound(complete_at);
  while (round->solved == nullptr) {
    if (!round->failed.ok()) return round->failed;
    if (!stream->ended.ok()) return stream->ended;
    if (is_cancelled()) return absl::CancelledError("the stream was cancelled");
    const absl::Time now = parts_.clock->Now();
    CheckRound(now);
    if (round->solved == nullptr && round->failed.ok()) {
      Sleep(stream, EndOf(*round) - now);
    }
  }
  return MakeReply(*stream, *round->solved, /*repeated=*/false);
}

}  // namespace concord
