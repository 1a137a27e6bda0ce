#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "server/session/messages.h"
#include "server/session/options.h"
#include "server/session/stored_session.h"

namespace concord {
namespace {

// Incarnations of a rank that are remembered after they were replaced.
constexpr size_t kReplacedIncarnations = 16;

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, {"DRAINING", "", "", "", {}},
                   "the server is shutting down");
}

// `incarnation` is whose stream took over: a client whose own late stream it
// was may retry.
absl::Status Superseded(uint32_t rank, uint64_t incarnation) {
  return MakeError(absl::StatusCode::kAborted,
                   {"SUPERSEDED",
                    "",
                    "",
                    "",
                    {{"rank", absl::StrCat(rank)},
                     {"incarnation", absl::StrCat(incarnation)}}},
                   "a newer attempt of this rank took over");
}

}  // namespace

Session::Session(Parts parts)
    : parts_(std::move(parts)),
      operator_options_(ToOperatorOptions(parts_.options)),
      vector_bytes_(operator_options_.num_parameters *
                    SizeOf(operator_options_.dtype)),
      gradient_bytes_(operator_options_.num_parameters *
                      ElementBytes(parts_.options.gradient_type())),
      update_half_(ToHalfType(parts_.options.update_type())),
      updates_(UpdatePool::Make(operator_options_.num_parameters *
                                ElementBytes(parts_.options.update_type()))),
      diagnostics_(parts_.diagnostics != nullptr
                       ? parts_.diagnostics
                       : std::make_shared<Diagnostics>(parts_.clock)),
      statistics_(parts_.statistics != nullptr
                      ? parts_.statistics
                      : std::make_shared<Statistics>()),
      current_(parts_.options),
      round_timeout_(ToDuration(current_.round_timeout())),
      straggler_timeout_(ToDuration(current_.straggler_timeout())),
      send_timeout_(ToDuration(current_.send_timeout())),
      idle_ttl_(ToDuration(current_.idle_ttl())),
      last_used_(parts_.clock->Now()),
      ranks_(parts_.options.num_workers()),
      last_checkpoint_at_(parts_.clock->Now()) {}

absl::StatusOr<std::shared_ptr<Session>> Session::Create(Parts parts) {
  std::optional<state::Record> record = std::move(parts.stored);
  parts.stored.reset();
  std::shared_ptr<Session> session(new Session(std::move(parts)));
  OperatorStorage storage;
  storage.vectors = session->parts_.state;
  if (session->parts_.state != nullptr &&
      !session->parts_.kernels->host_accessible()) {
    session->mirror_ = std::make_shared<VectorMirror>(
        session->parts_.kernels,
        DeviceVectors(session->parts_.kernels, session->vector_bytes_),
        session->parts_.state,
        record.has_value() ? absl::MakeConstSpan(record->places())
                           : absl::Span<const uint32_t>());
    storage.vectors = session->mirror_;
  }
  // Without momentum the update is the state; a checkpoint needs it.
  storage.keeps_committed =
      storage.vectors != nullptr || (session->parts_.checkpoints != nullptr &&
                                     std::holds_alternative<NoMomentumOptions>(
                                         session->operator_options_.momentum));
  if (record.has_value()) {
    absl::StatusOr<StoredState> stored = StoredOf(*record);
    if (!stored.ok()) return stored.status();
    storage.stored = *std::move(stored);
  }
  absl::StatusOr<std::unique_ptr<MomentumOperator>> made =
      MomentumOperator::Create(session->operator_options_,
                               session->parts_.kernels, std::move(storage));
  if (!made.ok()) return made.status();
  session->operator_ = *std::move(made);
  const v1::Session& options = session->parts_.options;
  auto gathered = std::make_unique<GatheredRows>(
      session->operator_.get(), session->parts_.kernels.get(),
      /*lends=*/options.max_ranks_per_vector() > 1);
  const absl::Status added = gathered->AddMemory(GatheredVectors(options));
  if (!added.ok()) return added;
  session->gathered_ = std::move(gathered);
  if (session->parts_.checkpoints != nullptr) {
    absl::StatusOr<CheckpointFile> newest =
        session->parts_.checkpoints->Newest();
    absl::MutexLock lock(&session->mutex_);
    if (newest.ok()) session->newest_checkpoint_ = *newest;
  }
  if (session->parts_.state != nullptr) {
    absl::MutexLock lock(&session->mutex_);
    if (record.has_value()) session->TakeUp(*record);
    const absl::Status kept = session->KeepCommitted();
    if (!kept.ok()) return kept;
  }
  if (!session->parts_.kernels->host_accessible() ||
      session->update_half_.has_value()) {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        session->parts_.kernels->Allocate(session->vector_bytes_);
    if (!memory.ok()) return memory.status();
    session->device_update_ = *std::move(memory);
  }
  return session;
}

absl::Status Session::CheckUid(absl::string_view wanted) const {
  if (wanted.empty() || wanted == uid()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, {"SESSION_REPLACED",
                                                           "uid",
                                                           std::string(wanted),
                                                           uid(),
                                                           {{"uid", uid()}}});
}

absl::Duration Session::send_timeout() const {
  absl::MutexLock lock(&mutex_);
  return send_timeout_;
}

absl::StatusOr<v1::Session> Session::ChangeOptions(
    absl::FunctionRef<absl::StatusOr<v1::Session>(const v1::Session&)> merge) {
  absl::MutexLock lock(&mutex_);
  // A durable session's record has the options and the committed step, both.
  while (parts_.state != nullptr && committing_ != nullptr) {
    Sleep(nullptr, absl::InfiniteDuration());
  }
  if (!closed_.ok()) return closed_;
  absl::StatusOr<v1::Session> merged = merge(current_);
  if (!merged.ok()) return merged.status();
  const OperatorOptions options = ToOperatorOptions(*merged);
  absl::Status status;
  {
    absl::MutexLock staging_lock(&staging_mutex_);
    status = operator_->CheckReconfigure(options);
  }
  if (!status.ok()) return InSession(status, *merged);
  current_ = *std::move(merged);
  round_timeout_ = ToDuration(current_.round_timeout());
  straggler_timeout_ = ToDuration(current_.straggler_timeout());
  send_timeout_ = ToDuration(current_.send_timeout());
  idle_ttl_ = ToDuration(current_.idle_ttl());
  last_used_ = parts_.clock->Now();
  pending_ = options;
  ApplyPending();
  // What was promised holds after a crash, too, also while a round is open.
  status = KeepCommitted();
  if (!status.ok()) return status;
  return DescribeLocked();
}

void Session::ApplyPending() {
  if (!pending_.has_value() || round_ != nullptr || committing_ != nullptr) {
    return;
  }
  absl::MutexLock lock(&staging_mutex_);
  const absl::Status status = operator_->Reconfigure(*pending_);
  pending_.reset();
  // Checked before, and nothing is staged between two rounds.
  if (!status.ok()) CloseLocked(absl::InternalError(status.message()));
}

v1::Session Session::Describe() const {
  absl::MutexLock lock(&mutex_);
  return DescribeLocked();
}

v1::Session Session::DescribeLocked() const {
  v1::Session message = current_;
  message.set_epoch(epoch_);
  message.set_committed_step(committed_step_);
  if (newest_checkpoint_.has_value()) {
    message.set_last_checkpoint_step(newest_checkpoint_->step);
    *message.mutable_last_checkpoint_time() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
            absl::ToUnixNanos(newest_checkpoint_->create_time));
  }
  message.set_joined_ranks(absl::c_count_if(
      ranks_, [](const RankSlot& slot) { return slot.stream != nullptr; }));
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (ranks_[rank].absent) message.add_absent_ranks(rank);
  }
  return message;
}

absl::Status Session::CheckJoin(const v1::Join& join) const {
  if (!closed_.ok()) return closed_;
  if (draining_) return Draining();
  if (join.rank() >= ranks_.size()) {
    return InvalidField("RANK_OUT_OF_RANGE", "join.rank",
                        absl::StrCat(join.rank()),
                        absl::StrCat("0 … ", ranks_.size() - 1));
  }
  if (join.incarnation() == 0) {
    return InvalidField("PROTOCOL_VIOLATION", "join.incarnation", "0",
                        "a random number that is not 0");
  }
  if (!join.uid().empty() && join.uid() != uid()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"SESSION_REPLACED", "join.uid", join.uid(), uid(), {{"uid", uid()}}});
  }
  if (join.epoch() != 0 && join.epoch() != epoch_) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"EPOCH_CHANGED",
                      "join.epoch",
                      absl::StrCat(join.epoch()),
                      absl::StrCat(epoch_),
                      {{"epoch", absl::StrCat(epoch_)}}});
  }
  const RankSlot& slot = ranks_[join.rank()];
  if (join.incarnation() == slot.incarnation) return absl::OkStatus();
  if (absl::c_linear_search(slot.replaced, join.incarnation())) {
    return Superseded(join.rank(), slot.incarnation);
  }
  if (committed_step_ == 0) return absl::OkStatus();
  const uint64_t oldest = OldestStep() - 1;
  if (join.has_resume_step() && join.resume_step() < oldest) {
    return ResyncError("join.resume_step", join.resume_step(), oldest);
  }
  if (!join.has_resume_step() || join.resume_step() > committed_step_) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"SESSION_IN_PROGRESS",
         "join.resume_step",
         join.has_resume_step() ? absl::StrCat(join.resume_step()) : "not set",
         absl::StrCat(oldest, " … ", committed_step_),
         {{"committed_step", absl::StrCat(committed_step_)}}},
        "a new incarnation must say which step it has applied last");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RankStream>> Session::Join(
    const v1::Join& join,
    std::function<void(const absl::Status& reason)> cancel_stream) {
  absl::MutexLock lock(&mutex_);
  const absl::Status status = CheckJoin(join);
  if (!status.ok()) return status;
  last_used_ = parts_.clock->Now();
  RankSlot& slot = ranks_[join.rank()];
  if (slot.stream != nullptr) {
    EndStream(slot.stream.get(), Superseded(join.rank(), join.incarnation()));
  }
  if (slot.incarnation != join.incarnation()) {
    if (slot.incarnation != 0) {
      if (slot.replaced.size() == kReplacedIncarnations) {
        slot.replaced.erase(slot.replaced.begin());
      }
      slot.replaced.push_back(slot.incarnation);
    }
    slot.incarnation = join.incarnation();
    slot.step = 0;
    slot.attempt = 0;
  }
  slot.stream = std::make_shared<Stream>();
  slot.stream->rank = join.rank();
  slot.stream->cancel = std::move(cancel_stream);
  ++streams_;
  v1::Joined joined;
  joined.set_uid(uid());
  joined.set_epoch(epoch_);
  joined.set_committed_step(committed_step_);
  joined.set_data_type(parts_.options.data_type());
  joined.set_num_parameters(parts_.options.num_parameters());
  joined.set_num_vectors(parts_.options.num_vectors());
  joined.set_layout_hash(parts_.options.layout_hash());
  joined.set_max_chunk_bytes(parts_.max_chunk_bytes);
  joined.set_gradient_type(parts_.options.gradient_type());
  joined.set_update_type(parts_.options.update_type());
  return std::make_unique<RankStream>(shared_from_this(), slot.stream,
                                      std::move(joined));
}

void Session::EndStream(Stream* stream, const absl::Status& reason) {
  if (!stream->ended.ok()) return;
  stream->ended = reason;
  Withdraw(stream, reason);
  if (stream->waiting) {
    Wake();
  } else if (stream->cancel != nullptr) {
    stream->cancel(reason);
    stream->cancel = nullptr;
  }
}

void Session::Leave(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  Withdraw(stream, absl::CancelledError("the stream has ended"));
  stream->cancel = nullptr;
  if (stream->busy) {
    stream->busy = false;
    --busy_;
  }
  --streams_;
  last_used_ = parts_.clock->Now();
  std::shared_ptr<Stream>& joined = ranks_[stream->rank].stream;
  if (joined.get() == stream) joined = nullptr;
  Wake();
}

absl::Status Session::StreamStatus(const Stream* stream) const {
  absl::MutexLock lock(&mutex_);
  return stream->ended;
}

absl::Status Session::EndStep(Stream* stream) {
  absl::MutexLock lock(&mutex_);
  if (stream->busy) {
    stream->busy = false;
    --busy_;
  }
  stream->round = nullptr;
  stream->contribution = nullptr;
  stream->replay = {};
  stream->accumulates = false;
  last_used_ = parts_.clock->Now();
  // As in EndIdleStreams: other ranks may have begun the next round already,
  // and it is this one that they wait for.
  if (draining_ && round_ == nullptr && stream->ended.ok()) {
    stream->ended = Draining();
  }
  Wake();
  return stream->ended;
}

void Session::CloseLocked(const absl::Status& reason) {
  if (!closed_.ok()) return;
  closed_ = reason;
  if (round_ != nullptr) FailRound(reason);
  EndAllStreams(reason);
  diagnostics_->Close(reason);
  Wake();
}

void Session::EndAllStreams(const absl::Status& reason) {
  for (const RankSlot& slot : ranks_) {
    if (slot.stream != nullptr) EndStream(slot.stream.get(), reason);
  }
}

void Session::Close(absl::Status reason) {
  absl::MutexLock lock(&mutex_);
  CloseLocked(reason);
}

void Session::EndIdleStreams() {
  // A rank that is idle now may be the one that the open round waits for.
  if (round_ != nullptr || committing_ != nullptr) return;
  for (const RankSlot& slot : ranks_) {
    if (slot.stream != nullptr && !slot.stream->busy) {
      EndStream(slot.stream.get(), Draining());
    }
  }
}

void Session::StartDraining() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  EndIdleStreams();
}

bool Session::AwaitQuiet(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    const absl::Time now = parts_.clock->Now();
    CheckRound(now);
    EndIdleStreams();
    if (busy_ == 0 && round_ == nullptr && committing_ == nullptr) return true;
    if (now >= deadline) return false;
    Sleep(nullptr, deadline - now);
  }
}

bool Session::Reap() {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = parts_.clock->Now();
  CheckRound(now);
  return streams_ == 0 && committing_ == nullptr &&
         now - last_used_ >= idle_ttl_;
}

void Session::Touch() {
  absl::MutexLock lock(&mutex_);
  last_used_ = parts_.clock->Now();
}

void Session::Wake() {
  if (waiting_ > 0) changed_.SignalAll();
}

void Session::Sleep(Stream* stream, absl::Duration most) {
  ++waiting_;
  if (stream != nullptr) stream->waiting = true;
  changed_.WaitWithTimeout(&mutex_, std::min(parts_.clock->tick(), most));
  if (stream != nullptr) stream->waiting = false;
  --waiting_;
}

}  // namespace concord
