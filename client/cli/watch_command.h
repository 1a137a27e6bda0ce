// `concord watch`: a session's committed steps as they come, as a picture or a
// line each.
#ifndef CONCORD_CLIENT_CLI_WATCH_COMMAND_H_
#define CONCORD_CLIENT_CLI_WATCH_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

Command MakeWatchCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_WATCH_COMMAND_H_
