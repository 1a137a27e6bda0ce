#include "client/cpp/limit.h"

#include <algorithm>

#include "absl/synchronization/notification.h"

namespace concord {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);

}  // namespace

absl::Time Limit::NextCheck() const {
  if (!is_cancelled_) return deadline_;
  return std::min(deadline_, absl::Now() + kTick);
}

absl::Status Limit::Check() const {
  if (end_.ok()) {
    if (is_cancelled_ && is_cancelled_()) {
      end_ = absl::CancelledError("cancelled by the caller");
    } else if (absl::Now() >= deadline_) {
      end_ = absl::DeadlineExceededError("the call's timeout has passed");
    }
  }
  return end_;
}

void Limit::Pause(absl::Duration duration) const {
  const absl::Time end = absl::Now() + duration;
  const absl::Notification never;
  while (absl::Now() < end && Check().ok()) {
    never.WaitForNotificationWithDeadline(std::min(end, NextCheck()));
  }
}

}  // namespace concord
