// A caller's limits with one of them set.
#ifndef CONCORD_TESTS_SERVER_SESSION_ONE_LIMIT_H_
#define CONCORD_TESTS_SERVER_SESSION_ONE_LIMIT_H_

#include <optional>

#include "server/session/limits.h"

namespace concord {

// OneLimit(&CallerLimits::max_streams, 2)
template <class Value, class Given>
CallerLimits OneLimit(std::optional<Value> CallerLimits::*limit, Given value) {
  CallerLimits limits;
  limits.*limit = static_cast<Value>(value);
  return limits;
}

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_SESSION_ONE_LIMIT_H_
