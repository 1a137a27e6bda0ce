// A device that the host cannot see, as a GPU is one, with the arithmetic of
// the cpu backend: what it allocates lies at addresses that no process can have
// mapped. Whoever takes one of them for the host's, or hands the host's to a
// pass, dies of it; and results are comparable to those on the cpu, bit by bit.
//
// CONCORD_FAR_DEVICE=cuda puts a real GPU in its place, which has these bits
// too.
#ifndef CONCORD_TESTS_OPERATORS_KERNELS_FAR_KERNELS_H_
#define CONCORD_TESTS_OPERATORS_KERNELS_FAR_KERNELS_H_

#include <memory>

#include "operators/kernels/kernels.h"

namespace concord {

std::shared_ptr<Kernels> MakeFarKernels(int threads);

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_KERNELS_FAR_KERNELS_H_
