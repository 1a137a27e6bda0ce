// The built-in backend: host memory, the instruction set chosen at run time
// (Highway), long passes spread over a pool of threads (oneTBB).
//
// Vectors come from mmap (huge pages where the kernel offers them), never from
// malloc. Denormals are flushed to zero in every path. The results are the same
// bits with every instruction set and every number of threads.
#ifndef CONCORD_OPERATORS_KERNELS_CPU_KERNELS_H_
#define CONCORD_OPERATORS_KERNELS_CPU_KERNELS_H_

#include <memory>
#include <string>

#include "operators/kernels/kernels.h"

namespace concord {

// `threads` >= 1 compute one pass, the calling thread among them.
std::shared_ptr<Kernels> MakeCpuKernels(int threads);

// The instruction set in use, e.g. "AVX2".
std::string CpuInstructionSet();

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_CPU_KERNELS_H_
