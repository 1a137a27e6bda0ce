// How long a call may go on: until a deadline, or until its caller gives up.
// One thread at a time.
#ifndef CONCORD_CLIENT_CPP_LIMIT_H_
#define CONCORD_CLIENT_CPP_LIMIT_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace concord {

class Limit {
 public:
  // `is_cancelled` may be empty; it must outlive the Limit.
  Limit(absl::Duration timeout, const std::function<bool()>& is_cancelled)
      : deadline_(absl::Now() + timeout), is_cancelled_(is_cancelled) {}

  absl::Time deadline() const { return deadline_; }

  // Until when a wait may sleep before it calls Check().
  absl::Time NextCheck() const;

  // OK, DEADLINE_EXCEEDED or CANCELLED; once not OK, always the same.
  absl::Status Check() const;

  // Sleeps; less where the limit ends it.
  void Pause(absl::Duration duration) const;

 private:
  const absl::Time deadline_;
  const std::function<bool()>& is_cancelled_;
  mutable absl::Status end_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_LIMIT_H_
