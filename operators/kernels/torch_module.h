// Loads the torch backend: a shared object of its own (libconcord_torch.so),
// so that nothing else links LibTorch.
#ifndef CONCORD_OPERATORS_KERNELS_TORCH_MODULE_H_
#define CONCORD_OPERATORS_KERNELS_TORCH_MODULE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "operators/kernels/kernels.h"

namespace concord {

// Kernels on any device of LibTorch: "cpu" (an oracle for tests), "cuda",
// "cuda:1". `module_path` empty: libconcord_torch.so beside the running
// executable or the shared object that contains this code, or in ../lib of it.
// UNAVAILABLE where the module or its libraries cannot be loaded or the device
// is not there, with the loader's message. The module stays loaded.
absl::StatusOr<std::shared_ptr<Kernels>> LoadTorchKernels(
    const std::string& device, const std::string& module_path = "");

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_TORCH_MODULE_H_
