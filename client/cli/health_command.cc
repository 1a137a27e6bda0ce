#include "client/cli/health_command.h"

#include <memory>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "client/cli/server_flags.h"

namespace concord {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);

absl::Status Run(const ServerFlags& flags, const Print& print) {
  RetryOptions retry;
  retry.max_attempts = 1;  // Whoever probes comes again by himself.
  const auto client = flags.Connect(retry);
  if (!client.ok()) return client.status();
  CallOptions call;
  call.timeout = kPatience;
  const absl::StatusOr<bool> serving = (*client)->IsServing(call);
  if (!serving.ok()) return serving.status();
  if (!*serving) return absl::UnavailableError("the server takes no work");
  return print("serving\n");
}

}  // namespace

Command MakeHealthCommand(CLI::App* app) {
  auto flags = std::make_shared<ServerFlags>();
  CLI::App* const parser = app->add_subcommand(
      "health", "Ask a server, for 5 s at most, whether it takes work");
  flags->AddTo(parser)->required();
  return {.parser = parser,
          .run = [flags](const Print& print) { return Run(*flags, print); }};
}

}  // namespace concord
