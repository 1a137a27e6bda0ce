// `concord statistics`.
#ifndef CONCORD_CLIENT_CLI_STATISTICS_COMMAND_H_
#define CONCORD_CLIENT_CLI_STATISTICS_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

// Tells what a server's steps were, and where their time went.
Command MakeStatisticsCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_STATISTICS_COMMAND_H_
