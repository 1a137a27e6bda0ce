// `concord watch` in a terminal: a picture of the session that follows its
// steps, outlives the server's deaths, and ends with q.
#ifndef CONCORD_CLIENT_CLI_LIVE_WATCH_H_
#define CONCORD_CLIENT_CLI_LIVE_WATCH_H_

#include <string>

#include "absl/status/status.h"
#include "client/cpp/client.h"

namespace concord {

// Until the user ends it: OK. The error of the first watch where that tells of
// no step; later ones are shown, and tried again, but for a caller that may not
// look on any more.
absl::Status WatchLive(Client* client, const std::string& session);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_LIVE_WATCH_H_
