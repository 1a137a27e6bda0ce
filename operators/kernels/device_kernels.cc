#include "operators/kernels/device_kernels.h"

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "operators/kernels/kernel_module.h"

namespace concord {
namespace {

constexpr KernelModule kTorch = {
    "torch", "\"cpu\", \"cuda\", \"cuda:1\" or another device of LibTorch"};
constexpr KernelModule kCuda = {"cuda", "\"cuda\" or \"cuda:1\""};

}  // namespace

absl::StatusOr<std::shared_ptr<Kernels>> LoadTorchKernels(
    const std::string& device, const std::string& module_path) {
  return LoadKernelModule(kTorch, device, module_path);
}

absl::StatusOr<std::shared_ptr<Kernels>> LoadCudaKernels(
    const std::string& device, const std::string& module_path) {
  return LoadKernelModule(kCuda, device, module_path);
}

absl::StatusOr<std::shared_ptr<Kernels>> LoadDeviceKernels(
    const std::string& device) {
  const absl::Status driver = CheckDriver(device);
  if (!driver.ok()) return driver;
  if (!absl::StartsWith(device, "cuda")) return LoadTorchKernels(device);
  absl::StatusOr<std::shared_ptr<Kernels>> cuda = LoadCudaKernels(device);
  if (cuda.ok() || !absl::IsUnavailable(cuda.status())) return cuda;
  absl::StatusOr<std::shared_ptr<Kernels>> torch = LoadTorchKernels(device);
  if (torch.ok() || !absl::IsUnavailable(torch.status())) return torch;
  return absl::UnavailableError(
      absl::StrCat(cuda.status().message(), "; ", torch.status().message()));
}

}  // namespace concord
