// `concord health`: whether a server takes work, for probes.
#ifndef CONCORD_CLIENT_CLI_HEALTH_COMMAND_H_
#define CONCORD_CLIENT_CLI_HEALTH_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

Command MakeHealthCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_HEALTH_COMMAND_H_
