// Session: what is kept of it in its state file.
#include <utility>

#include "operators/errors.h"
#include "server/session/options.h"
#include "server/session/session.h"
#include "server/session/stored_session.h"

namespace concord {

void Session::TakeUp(const state::Record& record) {
  epoch_ = record.epoch();
  committed_step_ = record.result().step();
  // Without a length: it had no answer (KeepCommitted).
  if (record.result().update_length() > 0) {
    committed_.step = committed_step_;
    committed_.result = std::make_shared<v1::StepResult>(record.result());
    committed_.trailer = record.trailer();
  }
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (rank >= static_cast<size_t>(record.ranks_size())) break;
    const state::Rank& stored = record.ranks(static_cast<int>(rank));
    ranks_[rank].incarnation = stored.incarnation();
    ranks_[rank].replaced.assign(stored.replaced().begin(),
                                 stored.replaced().end());
    ranks_[rank].absent = stored.absent();
  }
}

std::shared_ptr<const state::Record> Session::BeginRecord() const {
  if (parts_.state == nullptr) return nullptr;
  auto record = std::make_shared<state::Record>();
  record->set_epoch(epoch_);
  *record->mutable_options() = ChangingOptions(current_);
  for (const RankSlot& slot : ranks_) {
    state::Rank* rank = record->add_ranks();
    rank->set_incarnation(slot.incarnation);
    rank->mutable_replaced()->Add(slot.replaced.begin(), slot.replaced.end());
    rank->set_absent(slot.absent);
  }
  return record;
}

state::Record Session::CompleteRecord(const state::Record& begun,
                                      const v1::StepResult* result,
                                      const v1::StepTrailer* trailer) const {
  state::Record record = begun;
  FillStored(operator_->Stored(), &record);
  // Options that wait for the end of a round are the record's already: whoever
  // takes it up begins with them, as Reconfigure would.
  const OperatorOptions next =
      ToOperatorOptions(WithOptions(parts_.options, begun.options()));
  if (!KeepsState(operator_->options().combiner, next.combiner)) {
    record.mutable_numbers()->clear_combiner();
  }
  if (result != nullptr) *record.mutable_result() = *result;
  if (trailer != nullptr) *record.mutable_trailer() = *trailer;
  return record;
}

absl::Status Session::KeepCommitted() {
  const std::shared_ptr<const state::Record> begun = BeginRecord();
  if (begun == nullptr) return absl::OkStatus();
  absl::MutexLock lock(&staging_mutex_);
  return WriteRecord(CompleteCommittedRecord(*begun));
}

state::Record Session::CompleteCommittedRecord(
    const state::Record& begun) const {
  if (committed_.result != nullptr) {
    return CompleteRecord(begun, committed_.result.get(), &committed_.trailer);
  }
  if (committed_step_ == 0) return CompleteRecord(begun, nullptr, nullptr);
  // Of an answer that there is not any more the number alone.
  v1::StepResult result;
  result.set_step(committed_step_);
  return CompleteRecord(begun, &result, nullptr);
}

absl::Status Session::WriteRecord(const state::Record& record) const {
  if (mirror_ != nullptr) {
    const absl::Status mirrored = mirror_->Keep(record.places());
    if (!mirrored.ok()) return mirrored;
  }
  const absl::Status status = parts_.state->Write(record.SerializeAsString());
  if (status.ok() && mirror_ != nullptr) mirror_->Kept(record.places());
  return status;
}

absl::Status Session::CloseState(absl::FunctionRef<bool()> give_up) {
  absl::MutexLock lock(&mutex_);
  if (closed_.ok() || committing_ != nullptr) {
    return absl::FailedPreconditionError("the session is in use");
  }
  const std::shared_ptr<const state::Record> begun = BeginRecord();
  if (begun == nullptr) return absl::OkStatus();
  absl::MutexLock staging_lock(&staging_mutex_);
  state::Record record = CompleteCommittedRecord(*begun);
  absl::Status status =
      mirror_ == nullptr ? absl::OkStatus() : mirror_->Keep(record.places());
  if (status.ok()) {
    status = FillChecksums(vector_bytes_, parts_.state.get(), &record);
  }
  if (!status.ok()) return status;
  return parts_.state->Close(record.SerializeAsString(), give_up);
}

}  // namespace concord
