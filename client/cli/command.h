// A subcommand of `concord`: what it reads from the command line, and what it
// does. To add one, write its Make function and name it in main.cc.
#ifndef CONCORD_CLIENT_CLI_COMMAND_H_
#define CONCORD_CLIENT_CLI_COMMAND_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace concord {

using Print = std::function<absl::Status(absl::string_view text)>;

struct Command {
  CLI::App* parser;  // Owned by the app that it belongs to.
  // After parsing. What is printed goes to stdout at once; an error of `print`
  // is to be returned.
  std::function<absl::Status(const Print& print)> run;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_COMMAND_H_
