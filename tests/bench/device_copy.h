// The rate of a GPU's memory, by which steps on it are judged.
#ifndef CONCORD_TESTS_BENCH_DEVICE_COPY_H_
#define CONCORD_TESTS_BENCH_DEVICE_COPY_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "operators/kernels/kernels.h"

namespace concord::bench {

class DeviceCopy {
 public:
  static absl::StatusOr<std::unique_ptr<DeviceCopy>> Create(
      std::shared_ptr<Kernels> kernels);

  // Milliseconds that the 2m + 5 vectors of n floats, which a step of one
  // updated loss reads or writes, take at the rate of a copy on the device,
  // measured now: each of its bytes is read and written.
  absl::StatusOr<double> FloorMs(size_t n, int m) const;

 private:
  DeviceCopy(std::shared_ptr<Kernels> kernels,
             std::unique_ptr<DeviceMemory> from,
             std::unique_ptr<DeviceMemory> to)
      : kernels_(std::move(kernels)),
        from_(std::move(from)),
        to_(std::move(to)) {}

  const std::shared_ptr<Kernels> kernels_;
  const std::unique_ptr<DeviceMemory> from_, to_;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_DEVICE_COPY_H_
