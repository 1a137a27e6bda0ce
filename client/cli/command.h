// A subcommand of `concord`: what it reads from the command line, and what it
// does. To add one, write its Make function and name it in main.cc.
#ifndef CONCORD_CLIENT_CLI_COMMAND_H_
#define CONCORD_CLIENT_CLI_COMMAND_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace concord {

struct Command {
  CLI::App* parser;  // Owned by the app that it belongs to.
  // After parsing: what is to be written to stdout.
  std::function<absl::StatusOr<std::string>()> run;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_COMMAND_H_
