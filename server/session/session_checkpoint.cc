// Session: its state out of it, and another's into it.
#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/errors.h"
#include "server/session/checkpoint.h"
#include "server/session/messages.h"
#include "server/session/options.h"
#include "server/session/session.h"
#include "server/session/write_update.h"

namespace concord {
namespace {

absl::Status DoesNotFit(absl::string_view field, absl::string_view value,
                        absl::string_view accepted) {
  return InvalidField("INVALID_OPTION", absl::StrCat("checkpoint.", field),
                      value, accepted);
}

// The session's; an operator does not count steps that were skipped. States of
// embedded operators have only that.
uint64_t StepOf(const StoredCheckpoint& stored) {
  return std::max(stored.session.committed_step(),
                  static_cast<uint64_t>(stored.numbers.committed_steps));
}

}  // namespace

absl::StatusOr<SessionSnapshot> Session::Snapshot() {
  absl::MutexLock lock(&mutex_);
  while (committing_ != nullptr && closed_.ok()) {
    Sleep(nullptr, absl::InfiniteDuration());
  }
  if (!closed_.ok()) return closed_;
  last_used_ = parts_.clock->Now();
  SessionSnapshot snapshot;
  snapshot.session = DescribeLocked();
  snapshot.kernels = parts_.kernels;
  if (committed_.step > 0) {
    snapshot.answer = CommittedAnswer{committed_.result, committed_.trailer};
  }
  absl::MutexLock staging_lock(&staging_mutex_);
  absl::StatusOr<OperatorSnapshot> state = operator_->Snapshot();
  if (!state.ok()) return state.status();
  snapshot.state = *std::move(state);
  return snapshot;
}

absl::StatusOr<CheckpointFile> Session::Checkpoint() {
  CheckpointDirectory* const directory = parts_.checkpoints.get();
  if (directory == nullptr) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"NOT_DURABLE",
                      "session",
                      name(),
                      "a session with durability CHECKPOINT or STEP",
                      {}});
  }
  uint32_t keep = 0;
  uint64_t epoch = 0;
  {
    // One at a time: two would write the same file.
    absl::MutexLock lock(&mutex_);
    while (checkpointing_) Sleep(nullptr, absl::InfiniteDuration());
    checkpoint_asked_for_ = false;
    if (!closed_.ok()) return closed_;
    if (checkpoint_.has_value() && checkpoint_epoch_ == epoch_ &&
        checkpoint_->step == committed_step_) {
      return *checkpoint_;
    }
    checkpointing_ = true;
    keep = current_.checkpoints().keep();
    epoch = epoch_;
  }
  std::optional<CheckpointFile> written;
  const absl::Cleanup end = [&] {
    absl::MutexLock lock(&mutex_);
    checkpointing_ = false;
    last_checkpoint_at_ = parts_.clock->Now();
    if (written.has_value()) {
      checkpoint_ = written;
      newest_checkpoint_ = written;
      checkpoint_epoch_ = epoch;
    }
    Wake();
  };
  absl::StatusOr<SessionSnapshot> snapshot = Snapshot();
  if (!snapshot.ok()) return snapshot.status();
  epoch = snapshot->session.epoch();
  const uint64_t step = snapshot->session.committed_step();
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer =
      directory->Begin(step);
  if (!writer.ok()) return writer.status();
  CheckpointFile file = {step, 0, parts_.clock->Now()};
  absl::Status status =
      WriteSnapshot(*std::move(snapshot), [&](absl::Span<const std::byte> b) {
        file.size_bytes += b.size();
        Reached(Phase::kCheckpoint);
        // A session that ends does not wait for it.
        const absl::Status over = closed();
        return over.ok() ? (*writer)->Write(b) : over;
      });
  if (status.ok()) status = (*writer)->Finish();
  if (status.ok()) status = directory->Prune(keep);
  if (!status.ok()) return status;
  written = file;
  return file;
}

absl::Status Session::closed() const {
  absl::MutexLock lock(&mutex_);
  return closed_;
}

void Session::TakeCheckpointLater() {
  checkpoint_asked_for_ = true;
  parts_.take_checkpoint(shared_from_this());
}

void Session::AskForCheckpoint() {
  absl::MutexLock lock(&mutex_);
  const v1::CheckpointPolicy& policy = current_.checkpoints();
  const bool are_taken = policy.every_steps() > 0 ||
                         ToDuration(policy.every()) > absl::ZeroDuration();
  if (are_taken && committed_step_ > 0 && MayAskForCheckpoint()) {
    TakeCheckpointLater();
  }
}

bool Session::MayAskForCheckpoint() const {
  return parts_.checkpoints != nullptr && parts_.take_checkpoint != nullptr &&
         !checkpointing_ && !checkpoint_asked_for_;
}

bool Session::CheckpointIsDue() const {
  if (!MayAskForCheckpoint()) return false;
  const v1::CheckpointPolicy& policy = current_.checkpoints();
  if (policy.every_steps() > 0 && committed_step_ % policy.every_steps() == 0) {
    return true;
  }
  const absl::Duration every = ToDuration(policy.every());
  return every > absl::ZeroDuration() &&
         parts_.clock->Now() - last_checkpoint_at_ >= every;
}

absl::Status Session::CheckFits(const StoredCheckpoint& stored) const {
  const v1::Session& options = parts_.options;
  if (stored.session.data_type() != options.data_type()) {
    return DoesNotFit("data_type",
                      v1::DataType_Name(stored.session.data_type()),
                      v1::DataType_Name(options.data_type()));
  }
  if (stored.session.num_parameters() != options.num_parameters()) {
    return DoesNotFit("num_parameters",
                      absl::StrCat(stored.session.num_parameters()),
                      absl::StrCat(options.num_parameters()));
  }
  // 0: nobody has said what is inside the vectors.
  if (stored.session.layout_hash() != 0 && options.layout_hash() != 0 &&
      stored.session.layout_hash() != options.layout_hash()) {
    return DoesNotFit("layout_hash", absl::StrCat(stored.session.layout_hash()),
                      absl::StrCat(options.layout_hash()));
  }
  const std::vector<std::string> names = operator_->VectorNames();
  if (stored.names != names) {
    return DoesNotFit("vectors", absl::StrJoin(stored.names, ", "),
                      absl::StrJoin(names, ", "));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Session::ChecksumOfCommitted(
    const v1::StepResult& result) {
  absl::StatusOr<std::shared_ptr<Update>> update = updates_->Acquire();
  if (!update.ok()) return update.status();
  absl::MutexLock lock(&staging_mutex_);
  return RewriteCommitted(&result, update->get());
}

absl::StatusOr<v1::Session> Session::Restore(const StoredCheckpoint& stored) {
  absl::MutexLock lock(&mutex_);
  while (committing_ != nullptr) Sleep(nullptr, absl::InfiniteDuration());
  if (!closed_.ok()) return closed_;
  {
    absl::MutexLock staging_lock(&staging_mutex_);
    const absl::Status status = CheckFits(stored);
    if (!status.ok()) return status;
  }
  const absl::Status changed =
      MakeError(absl::StatusCode::kFailedPrecondition,
                {"EPOCH_CHANGED",
                 "",
                 "",
                 "",
                 {{"epoch", absl::StrCat(epoch_ + 1)},
                  {"committed_step", absl::StrCat(StepOf(stored))}}},
                absl::StrCat(name(), " was restored to step ", StepOf(stored)));
  // Nothing may be staged while the state is exchanged.
  if (round_ != nullptr) FailRound(changed);
  {
    absl::MutexLock staging_lock(&staging_mutex_);
    const absl::Status status =
        operator_->Import(stored.numbers, stored.vectors);
    if (!status.ok()) return status;
  }
  for (RankSlot& slot : ranks_) {
    if (slot.stream != nullptr) EndStream(slot.stream.get(), changed);
    slot.step = 0;
    slot.attempt = 0;
    slot.absent = false;
  }
  ++epoch_;
  committed_step_ = StepOf(stored);
  committed_ = {};
  history_.clear();
  auto result = std::make_shared<v1::StepResult>();
  v1::StepTrailer trailer;
  bool known = stored.answer.has_value();
  if (known) {
    *result = *stored.answer->result;
    trailer = stored.answer->trailer;
  }
  const v1::DataType update_type = parts_.options.update_type();
  if (committed_step_ > 0 && (!known || result->update_type() != update_type)) {
    // From an engine that kept no answer, or by a session that sent it in
    // another type: what can be told of the update.
    const absl::StatusOr<uint64_t> checksum = ChecksumOfCommitted(*result);
    known = checksum.ok();
    result->set_step(committed_step_);
    result->set_update_length(parts_.options.num_parameters());
    result->set_update_type(update_type);
    trailer.set_step(committed_step_);
    trailer.set_checksum(checksum.value_or(0));
  }
  if (known) {
    result->set_epoch(epoch_);
    trailer.set_epoch(epoch_);
    committed_.step = committed_step_;
    committed_.result = std::move(result);
    committed_.trailer = std::move(trailer);
  }
  checkpoint_.reset();
  Wake();
  const absl::Status kept = KeepCommitted();
  if (!kept.ok()) return kept;
  return DescribeLocked();
}

}  // namespace concord
