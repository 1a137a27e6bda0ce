// The cpu backend's ColumnPass, on one thread.
#ifndef CONCORD_OPERATORS_KERNELS_CPU_COLUMNS_H_
#define CONCORD_OPERATORS_KERNELS_CPU_COLUMNS_H_

#include "operators/kernels/kernels.h"

namespace concord {

void CpuCombineColumns(const ColumnPass& pass);

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_CPU_COLUMNS_H_
