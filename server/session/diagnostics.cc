#include "server/session/diagnostics.h"

#include <utility>

#include "absl/memory/memory.h"
#include "google/protobuf/util/time_util.h"
#include "server/session/messages.h"

namespace concord {
namespace {

v1::StepDiagnostics ToMessage(const StepFacts& facts, uint64_t steps) {
  v1::StepDiagnostics message;
  *message.mutable_result() = *facts.result;
  *message.mutable_trailer() = facts.trailer;
  for (const RankTime& time : facts.ranks) {
    v1::StepDiagnostics::Rank* const rank = message.add_ranks();
    rank->set_rank(time.rank);
    FillDuration(time.receive, rank->mutable_receive());
    FillDuration(time.wait, rank->mutable_wait());
  }
  if (facts.commit_time != absl::InfinitePast()) {
    *message.mutable_commit_time() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
            absl::ToUnixNanos(facts.commit_time));
  }
  message.set_steps(steps);
  return message;
}

}  // namespace

Diagnostics::Watcher::Watcher(std::shared_ptr<Diagnostics> diagnostics)
    : diagnostics_(std::move(diagnostics)) {}

Diagnostics::Watcher::~Watcher() {
  absl::MutexLock lock(&diagnostics_->mutex_);
  if (--diagnostics_->watchers_ == 0) diagnostics_->latest_ = nullptr;
}

std::unique_ptr<Diagnostics::Watcher> Diagnostics::Watch(
    std::shared_ptr<const StepFacts> current) {
  auto watcher = absl::WrapUnique(new Watcher(shared_from_this()));
  absl::MutexLock lock(&mutex_);
  ++watchers_;
  watcher->seen_ = commits_;
  if (current != nullptr) {
    --watcher->seen_;  // Wraps around where the step is older than this object.
    latest_ = std::move(current);
  }
  return watcher;
}

void Diagnostics::Publish(
    absl::FunctionRef<std::shared_ptr<const StepFacts>()> collect) {
  absl::MutexLock lock(&mutex_);
  ++commits_;
  if (watchers_ == 0) return;
  latest_ = collect();
  changed_.SignalAll();
}

bool Diagnostics::is_watched() const {
  absl::MutexLock lock(&mutex_);
  return watchers_ > 0;
}

void Diagnostics::Close(const absl::Status& reason) {
  absl::MutexLock lock(&mutex_);
  if (!closed_.ok()) return;
  closed_ = reason;
  changed_.SignalAll();
}

absl::StatusOr<v1::StepDiagnostics> Diagnostics::Watcher::Next(
    absl::FunctionRef<bool()> is_cancelled) {
  std::shared_ptr<const StepFacts> facts;
  uint64_t steps;
  {
    Diagnostics& shared = *diagnostics_;
    absl::MutexLock lock(&shared.mutex_);
    while (shared.commits_ == seen_) {
      if (!shared.closed_.ok()) return shared.closed_;
      if (is_cancelled()) {
        return absl::CancelledError("the watch was cancelled");
      }
      shared.changed_.WaitWithTimeout(&shared.mutex_, shared.clock_->tick());
    }
    facts = shared.latest_;
    steps = shared.commits_ - seen_;
    seen_ = shared.commits_;
  }
  return ToMessage(*facts, steps);
}

}  // namespace concord
