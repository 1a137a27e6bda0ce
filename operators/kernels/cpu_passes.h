// The cpu backend's inner loops, on one thread, for the best instruction set of
// this processor. The caller flushes denormals and spreads the blocks.
#ifndef CONCORD_OPERATORS_KERNELS_CPU_PASSES_H_
#define CONCORD_OPERATORS_KERNELS_CPU_PASSES_H_

#include <cstddef>

#include "operators/kernels/kernels.h"

namespace concord {

// Elements of a block: 16 KiB of fp32, so that a block of a few rows stays in a
// core's own cache. Part of the numerics: it fixes the order of summation.
inline constexpr size_t kCpuBlock = 4096;

// Partial sums of a dot product inside a block, whatever the register width:
// element e of a block belongs to sum e % kPartialSums. Added in index order.
inline constexpr size_t kPartialSums = 16;

void CpuIngest(const IngestPass& pass);
void CpuCommit(const CommitPass& pass);
const char* CpuPassesTarget();

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_CPU_PASSES_H_
