#include "client/cli/watch_command.h"

#include <cstdint>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/json_line.h"
#include "client/cli/live_watch.h"
#include "client/cli/server_flags.h"
#include "client/cli/session_name.h"
#include "client/cli/step_line.h"
#include "client/cli/terminal.h"

namespace concord {
namespace {

struct Flags {
  std::string name;
  ServerFlags server;
  bool json = false;
  bool lines = false;
  uint64_t count = 0;
};

absl::Status Run(const Flags& flags, const Print& print) {
  const auto client = flags.server.Connect();
  if (!client.ok()) return client.status();
  const std::string name = FullSessionName(flags.name);
  if (!flags.lines && !flags.json && flags.count == 0 && Terminal::IsThere()) {
    return WatchLive(client->get(), name);
  }
  const auto watch = (*client)->Watch(name);
  if (!watch.ok()) return watch.status();
  for (uint64_t told = 0; flags.count == 0 || told < flags.count; ++told) {
    const absl::StatusOr<v1::StepDiagnostics> step = (*watch)->Next();
    if (!step.ok()) return step.status();
    const absl::StatusOr<std::string> line =
        flags.json ? ToJsonLine(*step) : ToLine(*step);
    if (!line.ok()) return line.status();
    const absl::Status status = print(*line);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

Command MakeWatchCommand(CLI::App* app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* parser = app->add_subcommand(
      "watch",
      "Follow a session's committed steps, from the last one on; who reads "
      "slowly misses some, and no step waits. In a terminal: a picture of the "
      "session that goes on when the server comes back, until q. Else a line "
      "per step, until the session or the server ends");
  parser->add_option("NAME", flags->name, "The session: heat or sessions/heat")
      ->required();
  flags->server.AddTo(parser)->required();
  parser->add_flag("--json", flags->json,
                   "A concord.v1.StepDiagnostics as JSON on each line");
  parser->add_flag("--lines", flags->lines, "Lines, in a terminal, too");
  parser->add_option("--count", flags->count,
                     "Stop after so many lines; 0: never");
  return {.parser = parser,
          .run = [flags](const Print& print) { return Run(*flags, print); }};
}

}  // namespace concord
