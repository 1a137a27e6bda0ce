#include "operators/kernels/torch_module.h"

#include <dlfcn.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/errors.h"
#include "operators/kernels/torch/torch_factory.h"

namespace concord {
namespace {

constexpr char kFileName[] = "libconcord_torch.so";

// Its folder with the slash at the end; empty for a name without one.
std::string FolderOf(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

std::string ExecutablePath() {
  std::string path(4096, '\0');
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return path;
}

// The file that this code was linked into: the executable or a shared object.
std::string OwnPath() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&LoadTorchKernels), &info) == 0 ||
      info.dli_fname == nullptr) {
    return "";
  }
  return info.dli_fname;
}

std::vector<std::string> Candidates() {
  std::vector<std::string> paths;
  for (const std::string& file : {OwnPath(), ExecutablePath()}) {
    const std::string folder = FolderOf(file);
    if (folder.empty()) continue;
    paths.push_back(absl::StrCat(folder, kFileName));
    paths.push_back(absl::StrCat(folder, "../lib/", kFileName));
  }
  return paths;
}

absl::StatusOr<std::string> FindModule() {
  const std::vector<std::string> candidates = Candidates();
  for (const std::string& path : candidates) {
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return absl::UnavailableError(
      absl::StrCat("the torch module is not installed: looked for ",
                   absl::StrJoin(candidates, ", ")));
}

// LibTorch takes a second and some hundred MiB to find out that there is no
// GPU; whether the driver's own library is there tells at once.
absl::Status CheckDriver(const std::string& device) {
  if (!absl::StartsWith(device, "cuda")) return absl::OkStatus();
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat(
      "device ", device, ": this machine has no NVIDIA driver: ", dlerror()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Kernels>> LoadTorchKernels(
    const std::string& device, const std::string& module_path) {
  const absl::Status driver = CheckDriver(device);
  if (!driver.ok()) return driver;
  std::string path = module_path;
  if (path.empty()) {
    absl::StatusOr<std::string> found = FindModule();
    if (!found.ok()) return found.status();
    path = *std::move(found);
  }
  // Never closed: LibTorch does not survive being unloaded. Opening the same
  // file again gives the same handle.
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("the torch module cannot be loaded: ", dlerror()));
  }
  const auto factory =
      reinterpret_cast<TorchFactory>(dlsym(module, kTorchFactorySymbol));
  if (factory == nullptr) {
    return absl::UnavailableError(
        absl::StrCat(path, " is not Concord's torch module: ", dlerror()));
  }
  absl::Status error;
  std::shared_ptr<Kernels> kernels(
      factory(kTorchModuleVersion, device.c_str(), &error));
  if (kernels != nullptr) return kernels;
  if (absl::IsInvalidArgument(error)) {
    return MakeError(error.code(),
                     {"INVALID_OPTION",
                      "device",
                      device,
                      "\"cpu\", \"cuda\", \"cuda:1\" or another device of "
                      "LibTorch",
                      {}},
                     error.message());
  }
  return error;
}

}  // namespace concord
