// The cpu backend's SeparatePass, on one thread.
#ifndef CONCORD_OPERATORS_KERNELS_CPU_SEPARATE_H_
#define CONCORD_OPERATORS_KERNELS_CPU_SEPARATE_H_

#include "operators/kernels/kernels.h"

namespace concord {

void CpuSeparate(const SeparatePass& pass);

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_CPU_SEPARATE_H_
