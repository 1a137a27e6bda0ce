#include "server/rpc/stream_table.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "operators/errors.h"

namespace concord {

namespace {

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, {"DRAINING", "", "", "", {}},
                   "the server is shutting down");
}

}  // namespace

// ---- LiveStream -------------------------------------------------------------

LiveStream::LiveStream(StreamTable* table, MessagePipe* pipe)
    : table_(table), pipe_(pipe) {}

LiveStream::~LiveStream() { table_->Close(this); }

bool LiveStream::Enter(Operation operation) {
  absl::MutexLock lock(&mutex_);
  if (!reason_.ok()) return false;
  operation_ = operation;
  if (operation == Operation::kWrite) operation_began_ = absl::Now();
  return true;
}

void LiveStream::Leave() {
  absl::MutexLock lock(&mutex_);
  operation_ = Operation::kNone;
}

bool LiveStream::Read(grpc::ByteBuffer* message) {
  if (!Enter(Operation::kRead)) return false;
  const bool ok = pipe_->Read(message);
  Leave();
  if (!ok) return false;
  received_bytes_ += message->Length();
  table_->metrics_->CountReceived(message->Length());
  return true;
}

bool LiveStream::Write(const grpc::ByteBuffer& message) {
  if (!Enter(Operation::kWrite)) return false;
  const bool ok = pipe_->Write(message);
  Leave();
  if (!ok) return false;
  sent_bytes_ += message.Length();
  table_->metrics_->CountSent(message.Length());
  return true;
}

void LiveStream::set_send_timeout(absl::Duration timeout) {
  {
    absl::MutexLock lock(&mutex_);
    send_timeout_ = timeout;
  }
  table_->NoteSendTimeout(timeout);
}

void LiveStream::Cancel(const absl::Status& reason) {
  absl::MutexLock lock(&mutex_);
  if (!reason_.ok()) return;
  reason_ = reason;
  if (operation_ != Operation::kNone) pipe_->Cancel(reason);
}

void LiveStream::Occupy() {
  absl::MutexLock lock(&mutex_);
  occupied_ = true;
}

void LiveStream::CancelUnoccupied(const absl::Status& reason) {
  {
    absl::MutexLock lock(&mutex_);
    if (occupied_) return;
  }
  Cancel(reason);
}

void LiveStream::CheckWrite(absl::Time now) {
  absl::Duration timeout;
  {
    absl::MutexLock lock(&mutex_);
    if (operation_ != Operation::kWrite ||
        now - operation_began_ < send_timeout_) {
      return;
    }
    timeout = send_timeout_;
  }
  Cancel(MakeError(absl::StatusCode::kDeadlineExceeded,
                   {"SEND_TIMEOUT",
                    "",
                    "",
                    "",
                    {{"send_timeout", absl::FormatDuration(timeout)}}},
                   absl::StrCat("the client took none of its reply for ",
                                absl::FormatDuration(timeout))));
}

bool LiveStream::is_cancelled() const {
  {
    absl::MutexLock lock(&mutex_);
    if (!reason_.ok()) return true;
  }
  return pipe_->IsCancelled();
}

absl::Status LiveStream::status() const {
  {
    absl::MutexLock lock(&mutex_);
    if (!reason_.ok()) return reason_;
  }
  if (pipe_->IsCancelled()) {
    return absl::CancelledError("the client has left");
  }
  return absl::OkStatus();
}

// ---- StreamTable ------------------------------------------------------------

StreamTable::StreamTable(uint32_t max_streams, Metrics* metrics)
    : max_streams_(max_streams),
      metrics_(metrics),
      watchdog_([this] { Watch(); }) {}

StreamTable::~StreamTable() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  watchdog_.join();
}

absl::StatusOr<std::unique_ptr<LiveStream>> StreamTable::Open(
    MessagePipe* pipe) {
  absl::MutexLock lock(&mutex_);
  if (draining_) return Draining();
  if (streams_.size() >= max_streams_) {
    return MakeError(
        absl::StatusCode::kResourceExhausted,
        {"LIMIT_EXCEEDED",
         "",
         "",
         "",
         {{"limit", "max_streams"},
          {"value", absl::StrCat(streams_.size() + 1)},
          {"accepted", absl::StrCat(max_streams_)}}},
        absl::StrCat("the server has ", max_streams_, " streams already"));
  }
  auto live = std::unique_ptr<LiveStream>(new LiveStream(this, pipe));
  streams_.insert(live.get());
  if (streams_.size() == 1) changed_.SignalAll();  // The watchdog sleeps.
  return live;
}

void StreamTable::Close(LiveStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
  if (streams_.empty()) changed_.SignalAll();
}

uint32_t StreamTable::size() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint32_t>(streams_.size());
}

void StreamTable::StartDraining() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  for (LiveStream* stream : streams_) stream->CancelUnoccupied(Draining());
}

bool StreamTable::AwaitEmpty(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  absl::MutexLock lock(&mutex_);
  while (!streams_.empty()) {
    if (changed_.WaitWithDeadline(&mutex_, deadline)) return streams_.empty();
  }
  return true;
}

void StreamTable::CancelAll() {
  absl::MutexLock lock(&mutex_);
  for (LiveStream* stream : streams_) stream->Cancel(Draining());
}

void StreamTable::NoteSendTimeout(absl::Duration timeout) {
  const absl::Duration period =
      std::clamp(timeout / 4, absl::Milliseconds(10), absl::Seconds(1));
  absl::MutexLock lock(&mutex_);
  if (period >= watch_period_) return;
  watch_period_ = period;
  changed_.SignalAll();
}

void StreamTable::Watch() {
  absl::MutexLock lock(&mutex_);
  while (!stopping_) {
    if (streams_.empty()) {
      changed_.Wait(&mutex_);
    } else {
      changed_.WaitWithTimeout(&mutex_, watch_period_);
    }
    const absl::Time now = absl::Now();
    for (LiveStream* stream : streams_) stream->CheckWrite(now);
  }
}

}  // namespace concord
