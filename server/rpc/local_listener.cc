#include "server/rpc/local_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace concord {
namespace {

constexpr int kPauseMs = 100;

}  // namespace

absl::StatusOr<std::unique_ptr<LocalListener>> LocalListener::Start(
    size_t max_connections, Serve serve) {
  absl::StatusOr<local::Listener> listener = local::Listen();
  if (!listener.ok()) return listener.status();
  FileDescriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) {
    return absl::UnavailableError(
        absl::StrCat("eventfd: ", std::strerror(errno)));
  }
  auto started =
      absl::WrapUnique(new LocalListener(*std::move(listener), std::move(wake),
                                         max_connections, std::move(serve)));
  started->thread_ = std::thread([raw = started.get()] { raw->Run(); });
  return started;
}

void LocalListener::Wake() const {
  const uint64_t one = 1;
  // Full only where it is about to wake anyway.
  (void)!::write(wake_.get(), &one, sizeof(one));
}

bool LocalListener::Clean() {
  uint64_t count;
  (void)!::read(wake_.get(), &count, sizeof(count));
  std::list<std::thread> done;
  bool stopping;
  {
    absl::MutexLock lock(&mutex_);
    done.swap(done_);
    stopping = stopping_;
  }
  for (std::thread& thread : done) thread.join();
  return stopping;
}

void LocalListener::Run() {
  while (!Clean()) {
    pollfd polls[] = {{listener_.socket.get(), POLLIN, 0},
                      {wake_.get(), POLLIN, 0}};
    ::poll(polls, 2, -1);
    if ((polls[0].revents & POLLIN) == 0) continue;
    absl::StatusOr<FileDescriptor> socket =
        local::MessageSocket::Accept(listener_.socket);
    if (socket.ok()) {
      Take(*std::move(socket));
    } else if (absl::IsUnavailable(socket.status())) {
      // Whoever waits there is to be taken as soon as there are descriptors.
      ::poll(&polls[1], 1, kPauseMs);
    }
  }
}

void LocalListener::Take(FileDescriptor socket) {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || serving_.size() >= max_connections_) return;
  const auto place = serving_.emplace(serving_.end());
  try {
    *place = std::thread([this, place, socket = std::move(socket)]() mutable {
      serve_(std::move(socket));
      absl::MutexLock lock(&mutex_);
      done_.splice(done_.end(), serving_, place);
      Wake();
      if (serving_.empty()) changed_.SignalAll();
    });
  } catch (const std::system_error&) {
    serving_.erase(place);  // No more threads: the client goes on over gRPC.
  }
}

LocalListener::~LocalListener() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    while (!serving_.empty()) changed_.Wait(&mutex_);
  }
  Wake();
  thread_.join();
  Clean();
}

}  // namespace concord
