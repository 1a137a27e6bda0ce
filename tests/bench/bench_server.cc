#include "tests/bench/bench_server.h"

#include <utility>

#include "operators/kernels/cpu_kernels.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord::bench {
namespace {

class TcpServer : public BenchServer {
 public:
  absl::Status Start(int threads) {
    Server::Options options;
    options.listen = {"127.0.0.1:0"};
    options.sessions.kernels = MakeCpuKernels(threads);
    options.log = &log_;
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(std::move(options));
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return absl::OkStatus();
  }

  std::string address() const override { return server_->addresses().front(); }

 private:
  EventLog log_{[](const std::string&) {}};
  std::unique_ptr<Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchServer>> StartBenchServer(int threads) {
  auto server = std::make_unique<TcpServer>();
  const absl::Status status = server->Start(threads);
  if (!status.ok()) return status;
  return server;
}

}  // namespace concord::bench
