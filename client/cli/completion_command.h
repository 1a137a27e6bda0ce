// `concord completion`: what makes a shell complete the command line, made from
// the commands and flags that there are.
#ifndef CONCORD_CLIENT_CLI_COMPLETION_COMMAND_H_
#define CONCORD_CLIENT_CLI_COMPLETION_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

Command MakeCompletionCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_COMPLETION_COMMAND_H_
