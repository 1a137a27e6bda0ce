// Which host names are this machine and no other.
#ifndef CONCORD_PROTO_LOCAL_LOOPBACK_H_
#define CONCORD_PROTO_LOCAL_LOOPBACK_H_

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace concord::local {

// `host`: without port and brackets.
inline bool IsLoopback(absl::string_view host) {
  return host == "localhost" || host == "::1" ||
         (absl::StartsWith(host, "127.") &&
          host.find_first_not_of("0123456789.") == absl::string_view::npos);
}

}  // namespace concord::local

#endif  // CONCORD_PROTO_LOCAL_LOOPBACK_H_
