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
#include "operators/kernels/device_kernels.h"
#include "server/crash_at.h"
#include "server/rpc/event_log.h"
#include "server/rpc/process.h"
#include "server/rpc/server.h"
#include "server/rpc/version.h"
#include "server/server_options.h"
#include "server/storage/state_directory.h"
#include "server/storage/state_file.h"

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
        LoadDeviceKernels(automatic ? "cuda" : options.device);
    if (gpu.ok() || !automatic) return gpu;
    log->Write(
        "device_not_used",
        {{"device", "cuda"}, {"why", std::string(gpu.status().message())}});
  }
  return MakeCpuKernels(options.threads);
}

absl::StatusOr<std::unique_ptr<StateDirectory>> OpenStateDirectory(
    const std::string& path) {
  const absl::StatusOr<std::string> boot_id = ReadBootId();
  if (!boot_id.ok()) return boot_id.status();
  return StateDirectory::Open(path, *boot_id);
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
             {"kernels", (*kernels)->backend()},
             {"threads", int64_t{(*kernels)->threads()}},
             {"memory_budget_bytes",
              static_cast<int64_t>(options.limits.memory_budget_bytes)}});
  SessionRegistry::Options sessions;
  sessions.kernels = *kernels;
  sessions.limits = options.limits;
  std::unique_ptr<StateDirectory> storage;
  if (!options.state_dir.empty()) {
    absl::StatusOr<std::unique_ptr<StateDirectory>> opened =
        OpenStateDirectory(options.state_dir);
    if (!opened.ok()) {
      std::fprintf(stderr, "concord-server: --state-dir=%s: %s\n",
                   options.state_dir.c_str(),
                   std::string(opened.status().message()).c_str());
      return 1;
    }
    storage = *std::move(opened);
    sessions.storage = storage.get();
    sessions.on_checkpoint = [&log](const std::string& session,
                                    const absl::Status& status) {
      log.Write(
          status.ok() ? "checkpoint_created" : "checkpoint_failed",
          {{"session", session}, {"message", std::string(status.message())}});
    };
    sessions.limits.has_state_directory = true;
    sessions.limits.default_durability = (*kernels)->host_accessible()
                                             ? v1::DURABILITY_STEP
                                             : v1::DURABILITY_CHECKPOINT;
  }
  if (!options.crash_at.empty()) {
    absl::StatusOr<PhaseHook> crash = CrashAt(options.crash_at);
    if (!crash.ok()) {
      std::fprintf(stderr, "concord-server: --crash-at: %s\n",
                   std::string(crash.status().message()).c_str());
      return 1;
    }
    sessions.phase = *std::move(crash);
  }
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start({.listen = options.listen,
                     .tls = {.certificate = options.tls_certificate,
                             .key = options.tls_key,
                             .client_ca = options.tls_client_ca},
                     .token_file = options.token_file,
                     .allow_insecure_remote = options.allow_insecure_remote,
                     .max_shared_memory_bytes = options.max_shared_memory_bytes,
                     .metrics_listen = options.metrics_listen,
                     .sessions = std::move(sessions),
                     .log = &log});
  if (!server.ok()) {
    std::fprintf(stderr, "concord-server: %s\n",
                 std::string(server.status().message()).c_str());
    return 1;
  }
  for (const std::string& address : (*server)->addresses()) {
    std::printf("listening on %s\n", address.c_str());
  }
  if (!(*server)->metrics_address().empty()) {
    std::printf("metrics on http://%s/metrics\n",
                (*server)->metrics_address().c_str());
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
