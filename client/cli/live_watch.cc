#include "client/cli/live_watch.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/live_picture.h"
#include "client/cli/terminal.h"

namespace concord {
namespace {

constexpr absl::Duration kFrame = absl::Milliseconds(100);
constexpr absl::Duration kPause = absl::Milliseconds(500);

// What the steps say, on a thread of its own.
class Follower {
 public:
  Follower(Client* client, std::string session)
      : client_(client), session_(std::move(session)) {
    facts_.session = session_;
    facts_.server = client->server();
    thread_ = std::thread([this] { Follow(); });
  }
  ~Follower() {
    {
      absl::MutexLock lock(&mutex_);
      over_ = true;
    }
    thread_.join();
  }

  LiveFacts facts() const {
    absl::MutexLock lock(&mutex_);
    return facts_;
  }
  // Not OK: nothing more comes.
  absl::Status end() const {
    absl::MutexLock lock(&mutex_);
    return end_;
  }

 private:
  bool over() const {
    absl::MutexLock lock(&mutex_);
    return over_;
  }

  void Follow() {
    while (!over()) {
      const absl::Status status = FollowOne();
      absl::MutexLock lock(&mutex_);
      if (over_) return;
      if (!facts_.step.has_value() || absl::IsPermissionDenied(status) ||
          absl::IsUnauthenticated(status)) {
        end_ = status;
        return;
      }
      if (facts_.trouble.empty()) facts_.gone_since = absl::Now();
      facts_.trouble = std::string(status.message());
      mutex_.AwaitWithTimeout(absl::Condition(&over_), kPause);
    }
  }

  // One watch, to its end.
  absl::Status FollowOne() {
    const auto watch = client_->Watch(session_);
    if (!watch.ok()) return watch.status();
    while (true) {
      const absl::StatusOr<v1::StepDiagnostics> step =
          (*watch)->Next({.timeout = absl::InfiniteDuration(),
                          .is_cancelled = [this] { return over(); }});
      if (!step.ok()) return step.status();
      absl::MutexLock lock(&mutex_);
      AddStep(*step, absl::Now(), &facts_);
    }
  }

  Client* const client_;
  const std::string session_;
  mutable absl::Mutex mutex_;
  LiveFacts facts_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

absl::Status WatchLive(Client* client, const std::string& session) {
  auto terminal = Terminal::Open();
  if (!terminal.ok()) return terminal.status();
  const Follower follower(client, session);
  while (true) {
    const absl::Status end = follower.end();
    if (!end.ok()) return end;
    const absl::Status shown = (*terminal)->Show(
        DrawLivePicture(follower.facts(), absl::Now(), (*terminal)->Size()));
    if (!shown.ok()) return shown;
    if ((*terminal)->Wait(kFrame) == Terminal::Event::kQuit) {
      return absl::OkStatus();
    }
  }
}

}  // namespace concord
