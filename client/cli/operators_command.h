// `concord operators`: what there is to build an operator from, in this program
// or on a server, as a table or as JSON.
#ifndef CONCORD_CLIENT_CLI_OPERATORS_COMMAND_H_
#define CONCORD_CLIENT_CLI_OPERATORS_COMMAND_H_

#include "client/cli/command.h"

namespace concord {

Command MakeOperatorsCommand(CLI::App* app);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_OPERATORS_COMMAND_H_
