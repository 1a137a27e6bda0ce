// The memory of the machine that this process runs on.
#ifndef CONCORD_OPERATORS_KERNELS_MACHINE_MEMORY_H_
#define CONCORD_OPERATORS_KERNELS_MACHINE_MEMORY_H_

#include "operators/kernels/kernels.h"

namespace concord {

// The machine's, or the process's control group's where that has less. What
// the kernel could take back at once (its caches) counts as free.
MemoryInfo ReadMachineMemory();

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_MACHINE_MEMORY_H_
