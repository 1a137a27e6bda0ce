#include "tests/bench/device_copy.h"

#include <utility>

#include "tests/bench/measurement.h"

namespace concord::bench {
namespace {

// Far more than the device's cache, and long beside the call.
constexpr size_t kBytes = size_t{512} << 20;
constexpr int kCopies = 7;

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceCopy>> DeviceCopy::Create(
    std::shared_ptr<Kernels> kernels) {
  auto from = kernels->Allocate(kBytes);
  if (!from.ok()) return from.status();
  auto to = kernels->Allocate(kBytes);
  if (!to.ok()) return to.status();
  return std::unique_ptr<DeviceCopy>(
      new DeviceCopy(std::move(kernels), *std::move(from), *std::move(to)));
}

absl::StatusOr<double> DeviceCopy::FloorMs(size_t n, int m) const {
  const absl::StatusOr<TurnTimes> copy = Turn(kCopies, [this] {
    return kernels_->CopyOnDevice(to_->data(), from_->data(), kBytes);
  });
  if (!copy.ok()) return copy.status();
  const double bytes = (2.0 * m + 5) * static_cast<double>(n) * sizeof(float);
  return copy->median * bytes / (2.0 * kBytes);
}

}  // namespace concord::bench
