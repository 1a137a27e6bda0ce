// concord: the command line. See --help.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "client/cli/completion_command.h"
#include "client/cli/health_command.h"
#include "client/cli/operators_command.h"
#include "client/cli/sessions_command.h"
#include "client/cli/statistics_command.h"
#include "client/cli/watch_command.h"

namespace concord {
namespace {

// As --help says.
int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 2;
    case absl::StatusCode::kNotFound:
      return 3;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return 4;
    default:
      return 1;
  }
}

absl::Status PrintOut(absl::string_view text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written == text.size() && std::fflush(stdout) == 0) {
    return absl::OkStatus();
  }
  return absl::AbortedError("stdout takes no more");
}

int Run(const Command& command) {
  const absl::Status status = command.run(&PrintOut);
  if (!status.ok()) {
    std::fprintf(stderr, "concord %s: %s\n", command.parser->get_name().c_str(),
                 std::string(status.message()).c_str());
  }
  return ExitCode(status);
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Looks at Concord, and tends it: what it can combine gradients with, "
      "which sessions a server holds, and what their steps find.",
      "concord");
  app.set_version_flag("--version", CONCORD_VERSION);
  app.require_subcommand(0, 1);  // None is told below, in better words.
  app.footer(
      "Exit codes: 0 done; 1 failed; 2 the server was not reached, or takes no "
      "work; 3 there is no such session or checkpoint; 4 not allowed; 100 and "
      "more: wrong arguments.");
  const Command commands[] = {
      MakeCompletionCommand(&app), MakeHealthCommand(&app),
      MakeOperatorsCommand(&app),  MakeSessionsCommand(&app),
      MakeStatisticsCommand(&app), MakeWatchCommand(&app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  for (const Command& command : commands) {
    if (command.parser->parsed()) return Run(command);
  }
  std::fprintf(stderr, "concord: a subcommand is needed\n\n%s",
               app.help().c_str());
  return 1;
}

}  // namespace
}  // namespace concord

int main(int argc, char** argv) { return concord::Main(argc, argv); }
