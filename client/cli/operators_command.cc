#include "client/cli/operators_command.h"

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/listing.h"
#include "client/cli/server_flags.h"

namespace concord {
namespace {

struct Flags {
  ServerFlags server;
  bool json = false;
  std::string timeout = "10s";
};

// Empty, or what is wrong with `text`.
std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()) {
    return "";
  }
  return absl::StrCat("a duration like 10s or 500ms is needed, not '", text,
                      "'");
}

// One try: whoever types a command wants to hear at once that nobody answers.
absl::StatusOr<v1::ServerInfo> AskServer(const Flags& flags) {
  RetryOptions retry;
  retry.max_attempts = 1;
  auto client = flags.server.Connect(retry);
  if (!client.ok()) return client.status();
  CallOptions call;
  absl::ParseDuration(flags.timeout, &call.timeout);
  return (*client)->GetServerInfo(call);
}

absl::Status Run(const Flags& flags, const Print& print) {
  Listing listing = ListBuiltIn(CONCORD_VERSION);
  if (!flags.server.server.empty()) {
    const auto info = AskServer(flags);
    if (!info.ok()) {
      return absl::Status(info.status().code(),
                          absl::StrCat("--server=", flags.server.server, ": ",
                                       info.status().message()));
    }
    listing = ListServer(flags.server.server, *info);
  }
  return print(flags.json ? ToJson(listing) : ToText(listing));
}

}  // namespace

Command MakeOperatorsCommand(CLI::App* app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* parser = app->add_subcommand(
      "operators",
      "List the gradient methods with what they guarantee and remember, and "
      "the "
      "momentum operators, weights, lengths and loss recorders");
  flags->server.AddTo(parser)->description(
      "List what the server at HOST:PORT or unix:/path has; without: what is "
      "built into this program");
  parser
      ->add_option("--timeout", flags->timeout,
                   "How long the server has to answer, e.g. 500ms or 1m")
      ->check(CheckDuration)
      ->capture_default_str();
  parser->add_flag("--json", flags->json, "As JSON");
  return {.parser = parser,
          .run = [flags](const Print& print) { return Run(*flags, print); }};
}

}  // namespace concord
