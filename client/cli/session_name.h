// Sessions as people name them.
#ifndef CONCORD_CLIENT_CLI_SESSION_NAME_H_
#define CONCORD_CLIENT_CLI_SESSION_NAME_H_

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace concord {

// "sessions/heat" of "heat" and of itself.
inline std::string FullSessionName(absl::string_view name) {
  constexpr absl::string_view kPrefix = "sessions/";
  return absl::StartsWith(name, kPrefix) ? std::string(name)
                                         : absl::StrCat(kPrefix, name);
}

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_SESSION_NAME_H_
