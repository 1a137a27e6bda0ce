// The cuda module's thread blocks on the host: every thread's steps in turn
// between the barriers, the same code that nvcc compiles for a GPU.
#ifndef CONCORD_TESTS_OPERATORS_KERNELS_EMULATED_CUDA_H_
#define CONCORD_TESTS_OPERATORS_KERNELS_EMULATED_CUDA_H_

#include <memory>

#include "operators/kernels/kernels.h"

namespace concord {

std::shared_ptr<Kernels> MakeEmulatedCuda();

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_KERNELS_EMULATED_CUDA_H_
