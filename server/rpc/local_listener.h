// Takes connections of the same user's processes at a local socket and serves
// each on a thread of its own.
#ifndef CONCORD_SERVER_RPC_LOCAL_LISTENER_H_
#define CONCORD_SERVER_RPC_LOCAL_LISTENER_H_

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/local/file_descriptor.h"
#include "proto/local/message_socket.h"

namespace concord {

class LocalListener {
 public:
  // Serves one connection to its end.
  using Serve = std::function<void(FileDescriptor socket)>;

  // Listens from now on, and runs `serve` for at most `max_connections` at the
  // same time; further ones are closed at once. UNAVAILABLE where the system
  // has no such sockets.
  static absl::StatusOr<std::unique_ptr<LocalListener>> Start(
      size_t max_connections, Serve serve);

  // Waits for all connections that are being served: something else must make
  // them end.
  ~LocalListener();
  LocalListener(const LocalListener&) = delete;
  LocalListener& operator=(const LocalListener&) = delete;

  // Under which clients find it (local::MessageSocket::Connect).
  const std::string& name() const { return listener_.name; }

 private:
  LocalListener(local::Listener listener, FileDescriptor wake,
                size_t max_connections, Serve serve)
      : listener_(std::move(listener)),
        wake_(std::move(wake)),
        max_connections_(max_connections),
        serve_(std::move(serve)) {}
  void Run();
  void Take(FileDescriptor socket);
  // Joins the threads that are done; true when the listener is to end.
  bool Clean();
  void Wake() const;

  const local::Listener listener_;
  const FileDescriptor wake_;  // An eventfd.
  const size_t max_connections_;
  const Serve serve_;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::thread> done_ ABSL_GUARDED_BY(mutex_);
  std::list<std::thread> serving_ ABSL_GUARDED_BY(mutex_);
  absl::CondVar changed_;  // serving_ has become empty.
  std::thread thread_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_LOCAL_LISTENER_H_
