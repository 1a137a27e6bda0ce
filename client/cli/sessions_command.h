// `concord sessions …`: what a server holds, and what can be done to it.
#ifndef CONCORD_CLIENT_CLI_SESSIONS_COMMAND_H_
#define CONCORD_CLIENT_CLI_SESSIONS_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

Command MakeSessionsCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_SESSIONS_COMMAND_H_
