#include "server/session/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace concord {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() const override {
    return wall_ +
           absl::FromChrono(std::chrono::steady_clock::now() - monotonic_);
  }

 private:
  const absl::Time wall_ = absl::Now();
  const std::chrono::steady_clock::time_point monotonic_ =
      std::chrono::steady_clock::now();
};

}  // namespace

const Clock* Clock::Real() {
  static const RealClock* const clock = new RealClock;
  return clock;
}

}  // namespace concord
