// Text in columns, for terminals.
#ifndef CONCORD_CLIENT_CLI_TABLE_H_
#define CONCORD_CLIENT_CLI_TABLE_H_

#include <string>
#include <vector>

namespace concord {

using Row = std::vector<std::string>;

// Names come from a server: a terminal must not take them for commands.
std::string Printable(std::string text);

// Each column as wide as its widest cell; the last one is not padded.
std::string Aligned(const std::vector<Row>& rows);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_TABLE_H_
