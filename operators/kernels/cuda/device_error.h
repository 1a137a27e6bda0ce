// CUDA's errors as statuses.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_DEVICE_ERROR_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_DEVICE_ERROR_H_

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace concord::cuda {

// OK for cudaSuccess; RESOURCE_EXHAUSTED for want of memory, else INTERNAL,
// with CUDA's own message after `what`.
inline absl::Status ToStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // Not to be found again by the next call.
  const std::string message = absl::StrCat(what, ": ", cudaGetErrorName(error),
                                           ", ", cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation
             ? absl::ResourceExhaustedError(message)
             : absl::InternalError(message);
}

// Makes a device the calling thread's current one while it lives: the thread
// may be one of PyTorch's, with another.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    if (cudaGetDevice(&before_) != cudaSuccess) before_ = device;
    if (before_ != device) cudaSetDevice(device);
    changed_ = before_ != device;
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_DEVICE_ERROR_H_
