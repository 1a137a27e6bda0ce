#include "operators/kernels/kernel_module.h"

#include <dlfcn.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/errors.h"
#include "operators/kernels/module_factory.h"

namespace concord {
namespace {

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
  if (dladdr(reinterpret_cast<const void*>(&LoadKernelModule), &info) == 0 ||
      info.dli_fname == nullptr) {
    return "";
  }
  return info.dli_fname;
}

std::vector<std::string> Candidates(const KernelModule& module) {
  const std::string name = absl::StrCat("libconcord_", module.name, ".so");
  std::vector<std::string> paths;
  for (const std::string& file : {OwnPath(), ExecutablePath()}) {
    const std::string folder = FolderOf(file);
    if (folder.empty()) continue;
    paths.push_back(absl::StrCat(folder, name));
    paths.push_back(absl::StrCat(folder, "../lib/", name));
  }
  return paths;
}

absl::StatusOr<std::string> FindModule(const KernelModule& module) {
  const std::vector<std::string> candidates = Candidates(module);
  for (const std::string& path : candidates) {
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return absl::UnavailableError(
      absl::StrCat("the ", module.name, " module is not installed: looked for ",
                   absl::StrJoin(candidates, ", ")));
}

}  // namespace

absl::Status CheckDriver(const std::string& device) {
  if (!absl::StartsWith(device, "cuda")) return absl::OkStatus();
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat(
      "device ", device, ": this machine has no NVIDIA driver: ", dlerror()));
}

absl::StatusOr<std::shared_ptr<Kernels>> LoadKernelModule(
    const KernelModule& module, const std::string& device,
    const std::string& path) {
  const absl::Status driver = CheckDriver(device);
  if (!driver.ok()) return driver;
  std::string file = path;
  if (file.empty()) {
    absl::StatusOr<std::string> found = FindModule(module);
    if (!found.ok()) return found.status();
    file = *std::move(found);
  }
  // Never closed: LibTorch does not survive being unloaded. Opening the same
  // file again gives the same handle.
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "the ", module.name, " module cannot be loaded: ", dlerror()));
  }
  const auto factory =
      reinterpret_cast<ModuleFactory>(dlsym(handle, kModuleFactorySymbol));
  if (factory == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        file, " is not Concord's ", module.name, " module: ", dlerror()));
  }
  absl::Status error;
  std::shared_ptr<Kernels> kernels(
      factory(kKernelModuleVersion, device.c_str(), &error));
  if (kernels != nullptr) return kernels;
  if (absl::IsInvalidArgument(error)) {
    return MakeError(error.code(),
                     {"INVALID_OPTION", "device", device, module.devices, {}},
                     error.message());
  }
  return error;
}

}  // namespace concord
