// The whole server in one object: addresses, the service, gRPC's health and
// reflection services, and an orderly end.
//
//   auto server = Server::Start(options);          // ready: health is SERVING
//   (*server)->addresses();                        // "127.0.0.1:43071"
//   (*server)->Drain(absl::Seconds(30));           // as on SIGTERM
//
// Threads: Start, Drain and the destructor from one thread; the rest is safe.
#ifndef CONCORD_SERVER_RPC_SERVER_H_
#define CONCORD_SERVER_RPC_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/rpc/access.h"
#include "server/rpc/event_log.h"
#include "server/rpc/metrics.h"
#include "server/rpc/tls.h"
#include "server/session/registry.h"

namespace grpc {
class Server;
class Channel;
}  // namespace grpc

namespace concord {

class HealthService;
class HttpEndpoint;
class LocalListener;
class Service;
class StreamTable;

class Server {
 public:
  struct Options {
    // "HOST:PORT" (port 0: any free one) or "unix:/path".
    std::vector<std::string> listen;
    // For HOST:PORT; Unix sockets are their owner's anyway.
    TlsFiles tls;
    // Not empty: callers bring a token of this file (access.h). Else everybody
    // may do everything; who shows a certificate is known by its name.
    std::string token_file;
    // Addresses beyond this machine, though not both encrypted and for known
    // callers alone.
    bool allow_insecure_remote = false;
    // Workers on this machine may have their streams on a local socket, and
    // share up to this much memory with the server; 0: they may not.
    uint64_t max_shared_memory_bytes = 0;
    // "HOST:PORT" for /metrics and /healthz (http_endpoint.h); empty: nowhere.
    std::string metrics_listen;
    // on_commit and on_checkpoint are called as well as the server's metrics.
    SessionRegistry::Options sessions;
    EventLog* log = nullptr;  // Not owned.
  };

  // INVALID_ARGUMENT (INVALID_OPTION) for an address that is malformed or
  // beyond loopback without leave, and for what is wrong with the files of TLS
  // and tokens; UNAVAILABLE where one cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Options options);

  // Drains without patience when Drain was not called.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Of metrics_listen, with the port taken; empty: there is none.
  std::string metrics_address() const;

  // In the order of Options::listen, with the ports taken.
  const std::vector<std::string>& addresses() const { return addresses_; }
  SessionRegistry& registry() { return *registry_; }
  StreamTable& streams() { return *streams_; }
  const Metrics& metrics() const { return *metrics_; }

  // A channel to this server inside the process.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Health says NOT_SERVING, new work is refused with DRAINING, idle streams
  // end; what is under way may finish until shortly before `timeout`, then it
  // is cancelled. Returns when nothing runs any more, within the timeout.
  void Drain(absl::Duration timeout);

 private:
  explicit Server(Options options);
  // The registry's, which count what happens.
  SessionRegistry::Options SessionOptions() const;
  Metrics::Facts CollectFacts() const;
  absl::Status ListenForMetrics();
  // Sessions that the state directory has from before.
  void TakeUpStored();
  absl::Status Listen();
  void ListenLocally();
  absl::Status SetAccess();
  // Reads the token file again, if it has changed.
  void ReloadTokens();
  // Deletes idle sessions now and then, and looks for new tokens.
  void Reap();

  const Options options_;
  const std::unique_ptr<Metrics> metrics_;
  std::vector<std::string> addresses_;
  std::vector<std::string> socket_files_;
  std::unique_ptr<SessionRegistry> registry_;
  std::unique_ptr<StreamTable> streams_;
  std::unique_ptr<AccessControl> access_;  // Null: nobody is asked.
  std::unique_ptr<Service> service_;
  std::unique_ptr<HealthService> health_;
  std::unique_ptr<LocalListener> local_;  // Null: there is none.
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HttpEndpoint> http_;  // Null: there is none.

  absl::Mutex mutex_;
  absl::CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread reaper_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_SERVER_H_
