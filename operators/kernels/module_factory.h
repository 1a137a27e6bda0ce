// The one symbol of a kernel module: libconcord_cuda.so, libconcord_torch.so.
//
// The loader (kernel_module.h) and a module are two files that may be of
// different builds: the loader says which interface it was compiled with, and
// the module refuses another one before any object crosses the border.
#ifndef CONCORD_OPERATORS_KERNELS_MODULE_FACTORY_H_
#define CONCORD_OPERATORS_KERNELS_MODULE_FACTORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "operators/kernels/kernels.h"

namespace concord {

// To be raised with every change of kernels.h or of this file.
inline constexpr int32_t kKernelModuleVersion = 3;

inline constexpr char kModuleFactorySymbol[] = "ConcordMakeKernels";

// Makes kernels on `device` ("cuda:1"; each module says which it knows); the
// caller owns them. Null on an error, with `*error` set: INVALID_ARGUMENT (no
// device's name), UNAVAILABLE (no such device here). Throws nothing.
using ModuleFactory = Kernels* (*)(int32_t version, const char* device,
                                   absl::Status* error);

// What a module's factory does: `make(device)` behind the comparison of
// versions.
template <class Make>
Kernels* MakeOfModule(const char* module, int32_t version, const char* device,
                      absl::Status* error, const Make& make) {
  if (version != kKernelModuleVersion) {
    *error = absl::UnavailableError(absl::StrCat(
        "the ", module, " module has interface version ", kKernelModuleVersion,
        ", this program needs ", version, ": build both together"));
    return nullptr;
  }
  absl::StatusOr<std::unique_ptr<Kernels>> kernels = make(device);
  if (kernels.ok()) return kernels->release();
  *error = kernels.status();
  return nullptr;
}

}  // namespace concord

extern "C" concord::Kernels* ConcordMakeKernels(int32_t version,
                                                const char* device,
                                                absl::Status* error);

#endif  // CONCORD_OPERATORS_KERNELS_MODULE_FACTORY_H_
