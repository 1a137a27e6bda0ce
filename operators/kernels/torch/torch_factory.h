// The one symbol of libconcord_torch.so.
//
// The loader (torch_module.h) and the module are two files that may be of
// different builds: the loader says which interface it was compiled with, and
// the module refuses another one before any object crosses the border.
#ifndef CONCORD_OPERATORS_KERNELS_TORCH_TORCH_FACTORY_H_
#define CONCORD_OPERATORS_KERNELS_TORCH_TORCH_FACTORY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "operators/kernels/kernels.h"

namespace concord {

// To be raised with every change of kernels.h or of this file.
inline constexpr int32_t kTorchModuleVersion = 2;

inline constexpr char kTorchFactorySymbol[] = "ConcordMakeTorchKernels";

// Makes kernels on `device` ("cpu", "cuda", "cuda:1", any that LibTorch has);
// the caller owns them. Null on an error, with `*error` set: INVALID_ARGUMENT
// (no device's name), UNAVAILABLE (no such device here). Throws nothing.
using TorchFactory = Kernels* (*)(int32_t version, const char* device,
                                  absl::Status* error);

}  // namespace concord

extern "C" concord::Kernels* ConcordMakeTorchKernels(int32_t version,
                                                     const char* device,
                                                     absl::Status* error);

#endif  // CONCORD_OPERATORS_KERNELS_TORCH_TORCH_FACTORY_H_
