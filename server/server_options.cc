#include "server/server_options.h"

#include <thread>

#include "CLI/CLI.hpp"
#include "server/rpc/version.h"
#include "server/session/memory_budget.h"

namespace concord {
namespace {

// A duration as Abseil reads it: "90s", "1h30m", "250ms".
const CLI::Validator& PositiveDuration() {
  static const CLI::Validator validator(
      [](std::string& text) -> std::string {
        absl::Duration duration;
        if (absl::ParseDuration(text, &duration) &&
            duration > absl::ZeroDuration()) {
          return "";
        }
        return "a duration like 90s, 5m or 1h30m is needed, not '" + text + "'";
      },
      "DURATION", "duration");
  return validator;
}

const CLI::Validator& Device() {
  static const CLI::Validator validator(
      [](std::string& text) -> std::string {
        if (text == "auto" || text == "cpu" || text == "cuda") return "";
        if (text.rfind("cuda:", 0) == 0 && text.size() > 5 &&
            text.find_first_not_of("0123456789", 5) == std::string::npos) {
          return "";
        }
        return "auto, cpu, cuda or cuda:<number> is needed, not '" + text + "'";
      },
      "auto|cpu|cuda[:i]", "device");
  return validator;
}

absl::Duration ParseChecked(const std::string& text) {
  absl::Duration duration;
  absl::ParseDuration(text, &duration);
  return duration;
}

}  // namespace

std::variant<ServerOptions, int> ParseServerOptions(int argc, char** argv) {
  ServerOptions options;
  options.threads =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.limits.memory_budget_bytes = DefaultMemoryBudget();
  options.max_shared_memory_bytes = options.limits.memory_budget_bytes;
  CallerLimits& per_caller = options.limits.per_caller;
  std::string shared_memory = "on";
  std::string idle_ttl = absl::FormatDuration(options.limits.default_idle_ttl);
  std::string drain_timeout = absl::FormatDuration(options.drain_timeout);

  CLI::App app(
      "Combines the gradients of conflicting losses: one session per training "
      "job, one update per step.",
      "concord-server");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", kVersion);
  app.add_option("--listen", options.listen,
                 "HOST:PORT (port 0: any free one) or unix:/path; may be given "
                 "several times. Every address is printed when it is ready.")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  auto* const certificate =
      app.add_option("--tls-cert", options.tls_certificate,
                     "The server's certificate, with its issuers': TLS on "
                     "every HOST:PORT. Read again when it changes")
          ->check(CLI::ExistingFile);
  app.add_option("--tls-key", options.tls_key, "The certificate's key")
      ->check(CLI::ExistingFile)
      ->needs(certificate);
  certificate->needs("--tls-key");
  app.add_option("--tls-client-ca", options.tls_client_ca,
                 "Who may issue clients' certificates: clients without one "
                 "are not connected")
      ->check(CLI::ExistingFile)
      ->needs(certificate);
  app.add_option("--token-file", options.token_file,
                 "JSON with the tokens of those who may call, and what each "
                 "may do (docs/SECURITY.md). Read again when it changes")
      ->check(CLI::ExistingFile);
  app.add_flag("--allow-insecure-remote", options.allow_insecure_remote,
               "Also listen where other machines can connect, though without "
               "TLS everything can be read and changed on its way, and without "
               "tokens or clients' certificates nobody is asked who he is.");
  app.add_option(
      "--metrics-listen", options.metrics_listen,
      "HOST:PORT (port 0: any free one) for Prometheus: GET /metrics "
      "and /healthz, plain HTTP for whoever can connect "
      "(docs/metrics.md). The address is printed");
  app.add_option("--device", options.device,
                 "Where sessions live; auto: a GPU when there is one")
      ->check(Device());
  app.add_option("--threads", options.threads,
                 "Threads that compute one pass over the vectors")
      ->check(CLI::Range(1, 1024));
  app.add_option("--max-sessions", options.limits.max_sessions)
      ->check(CLI::PositiveNumber);
  app.add_option("--max-vectors", options.limits.max_vectors,
                 "Losses of one session")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-parameters", options.limits.max_parameters,
                 "Length of one vector")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-streams", options.limits.max_streams,
                 "Workers connected at the same time")
      ->check(CLI::PositiveNumber);
  app.add_option("--memory-budget", options.limits.memory_budget_bytes,
                 "Memory for all sessions' vectors, e.g. 512MiB or 8GB; "
                 "default: 80 % of what the machine or control group has")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  app.add_option("--max-streams-per-caller", per_caller.max_streams,
                 "Streams of one caller at the same time; 0: as many as there "
                 "may be. A caller is the name of a token or certificate, else "
                 "an address; a token may have limits of its own")
      ->default_str("0");
  app.add_option("--max-sessions-per-caller", per_caller.max_sessions,
                 "Sessions that one caller has made; 0: as many as there may "
                 "be")
      ->default_str("0");
  app.add_option("--memory-budget-per-caller", per_caller.memory_budget_bytes,
                 "Memory for the vectors of one caller's sessions; 0: as much "
                 "as there is")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->default_str("0");
  app.add_option("--max-step-rate-per-caller", per_caller.max_step_rate,
                 "Steps a second, each rank's, and combinations of one caller; "
                 "0: any number. Clients wait until they may go on")
      ->check(CLI::Range(0.0, 1e9))
      ->default_str("0");
  app.add_option("--shared-memory", shared_memory,
                 "Whether the same user's workers on this machine may pass "
                 "vectors in memory that they share with the server")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--max-shared-memory", options.max_shared_memory_bytes,
                 "How much of that memory there may be; workers beyond it send "
                 "their vectors. Default: as --memory-budget's")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->check(CLI::PositiveNumber);
  app.add_option("--state-dir", options.state_dir,
                 "Directory, made if there is none, in which sessions outlive "
                 "the server; one server at a time. Sessions are durable by "
                 "default then: every step on the cpu, checkpoints on a GPU");
  app.add_option(
         "--crash-at", options.crash_at,
         "For tests of durability: PHASE:COUNT, kill this process the "
         "COUNT-th time that it reaches receive, ingest, solve, commit, "
         "switch, trailer or checkpoint")
      ->group("");
  app.add_option(
         "--idle-ttl", idle_ttl,
         "A session that nobody uses for this long is deleted (put away "
         "to the state directory where its steps are durable), unless "
         "it was created with a time of its own")
      ->check(PositiveDuration());
  app.add_option("--drain-timeout", drain_timeout,
                 "After SIGTERM or SIGINT open rounds may take this long")
      ->check(PositiveDuration());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (shared_memory == "off") options.max_shared_memory_bytes = 0;
  options.limits.default_idle_ttl = ParseChecked(idle_ttl);
  options.drain_timeout = ParseChecked(drain_timeout);
  return options;
}

}  // namespace concord
