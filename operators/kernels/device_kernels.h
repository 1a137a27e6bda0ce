// The backends for devices other than the host: modules that are loaded when
// they are asked for.
#ifndef CONCORD_OPERATORS_KERNELS_DEVICE_KERNELS_H_
#define CONCORD_OPERATORS_KERNELS_DEVICE_KERNELS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "operators/kernels/kernels.h"

namespace concord {

// Kernels on any device of LibTorch: "cpu" (an oracle for tests), "cuda",
// "cuda:1". `module_path` and errors: as for LoadKernelModule, of
// libconcord_torch.so.
absl::StatusOr<std::shared_ptr<Kernels>> LoadTorchKernels(
    const std::string& device, const std::string& module_path = "");

// Kernels on an NVIDIA GPU, "cuda" or "cuda:1", of libconcord_cuda.so, which
// needs nothing but the driver.
absl::StatusOr<std::shared_ptr<Kernels>> LoadCudaKernels(
    const std::string& device, const std::string& module_path = "");

// The cuda module's kernels where it is there and finds the device, else the
// torch module's; Kernels::backend() says which. An error has both reasons.
absl::StatusOr<std::shared_ptr<Kernels>> LoadDeviceKernels(
    const std::string& device);

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_DEVICE_KERNELS_H_
