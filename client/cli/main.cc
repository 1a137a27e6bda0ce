// concord: the command line. See --help.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "client/cli/operators_command.h"
#include "client/cli/watch_command.h"

namespace concord {
namespace {

int Fail(const CLI::App& parser, const std::string& message) {
  std::fprintf(stderr, "concord %s: %s\n", parser.get_name().c_str(),
               message.c_str());
  return 1;
}

absl::Status PrintOut(absl::string_view text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written == text.size() && std::fflush(stdout) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError("stdout takes no more");
}

int Run(const Command& command) {
  const absl::Status status = command.run(&PrintOut);
  if (status.ok()) return 0;
  return Fail(*command.parser, std::string(status.message()));
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Looks at Concord: what it can combine gradients with, and what the "
      "steps of a session find.",
      "concord");
  app.set_version_flag("--version", CONCORD_VERSION);
  app.require_subcommand(0, 1);  // None is told below, in better words.
  const Command commands[] = {MakeOperatorsCommand(&app),
                              MakeWatchCommand(&app)};
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
