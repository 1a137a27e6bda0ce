// concord-server: see --help, and README.md.
#include <grpc/grpc.h>
#include <pthread.h>
#include <signal.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/torch_module.h"
#include "server/rpc/event_log.h"
#include "server/rpc/process.h"
#include "server/rpc/server.h"
#include "server/rpc/version.h"
#include "server/server_options.h"

namespace concord {
namespace {

// When its last object goes, gRPC shuts itself down and may wait ten seconds
// for a poller that a large write has left behind. Kept for the rest of the
// process, it does not.
void KeepLibrary() { grpc_init(); }

// SIGTERM and SIGINT, kept from all threads that are started later; to be made
// before any thread.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  // Waits for the first; a second one ends the process at once.
  int Wait() {
    int number = 0;
    while (sigwait(&signals_, &number) != 0) {
    }
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
    return number;
  }

 private:
  sigset_t signals_;
};

absl::StatusOr<std::shared_ptr<Kernels>> MakeKernels(
    const ServerOptions& options, EventLog* log) {
  if (options.device != "cpu") {
    const bool automatic = options.device == "auto";
    absl::StatusOr<std::shared_ptr<Kernels>> gpu =
        LoadTorchKernels(automatic ? "cuda" : options.device);
    if (gpu.ok() || !automatic) return gpu;
    log->Write(
        "device_not_used",
        {{"device", "cuda"}, {"why", std::string(gpu.status().message())}});
  }
  return MakeCpuKernels(options.threads);
}

int Run(const ServerOptions& options) {
  StopSignals signals;
  KeepLibrary();  // Starts threads: after the signals are kept from them.
  EventLog log;
  absl::StatusOr<std::shared_ptr<Kernels>> kernels = MakeKernels(options, &log);
  if (!kernels.ok()) {
    std::fprintf(stderr, "concord-server: --device=%s: %s\n",
                 options.device.c_str(),
                 std::string(kernels.status().message()).c_str());
    return 1;
  }
  log.Write("starting",
            {{"version", kVersion},
             {"device", (*kernels)->device()},
             {"threads", int64_t{(*kernels)->threads()}},
             {"memory_budget_bytes",
              static_cast<int64_t>(options.limits.memory_budget_bytes)}});
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(
      {.listen = options.listen,
       .allow_insecure_remote = options.allow_insecure_remote,
       .sessions = {.kernels = *kernels, .limits = options.limits},
       .log = &log});
  if (!server.ok()) {
    std::fprintf(stderr, "concord-server: %s\n",
                 std::string(server.status().message()).c_str());
    return 1;
  }
  for (const std::string& address : (*server)->addresses()) {
    std::printf("listening on %s\n", address.c_str());
  }
  std::fflush(stdout);

  const int number = signals.Wait();
  log.Write("signal", {{"number", int64_t{number}}});
  (*server)->Drain(options.drain_timeout);
  return 0;
}

}  // namespace
}  // namespace concord

int main(int argc, char** argv) {
  concord::TuneProcess();
  const auto options = concord::ParseServerOptions(argc, argv);
  if (const int* exit_code = std::get_if<int>(&options)) return *exit_code;
  return concord::Run(std::get<concord::ServerOptions>(options));
}
