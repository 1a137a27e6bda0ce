// Loads a backend that is a shared object of its own, so that nothing else
// links what it stands on.
#ifndef CONCORD_OPERATORS_KERNELS_KERNEL_MODULE_H_
#define CONCORD_OPERATORS_KERNELS_KERNEL_MODULE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "operators/kernels/kernels.h"

namespace concord {

struct KernelModule {
  const char* name;     // "torch": of libconcord_torch.so
  const char* devices;  // Accepted ones, for the error of another name.
};

// Kernels of `module` on `device`. `path` empty: the module's file beside the
// running executable or the shared object that contains this code, or in ../lib
// of it. UNAVAILABLE where the module or its libraries cannot be loaded or the
// device is not there, with the loader's message; INVALID_ARGUMENT for what is
// no device's name. The module stays loaded.
absl::StatusOr<std::shared_ptr<Kernels>> LoadKernelModule(
    const KernelModule& module, const std::string& device,
    const std::string& path);

// UNAVAILABLE where this machine has no driver for `device`, "cuda…". Asks no
// library that takes long to find out.
absl::Status CheckDriver(const std::string& device);

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_KERNEL_MODULE_H_
