// The kernels' launches: what nvcc compiles, behind plain structs. Each puts
// one pass on a stream of the current device and does not wait; the error is
// the launch's own.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_LAUNCH_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_LAUNCH_H_

#include <cuda_runtime_api.h>

#include <cstddef>

#include "operators/kernels/cuda/elementwise_passes.h"
#include "operators/kernels/cuda/row_table.h"
#include "operators/kernels/cuda/sources.h"

namespace concord::cuda {

// Once per device, before the first launch there.
cudaError_t Prepare();

// A range of `count` elements. `aligned`: all vectors of the pass are, to 16
// bytes. `dots` is memory of the device.
struct Launch {
  cudaStream_t stream;
  size_t count;
  bool aligned;
};

template <class T>
cudaError_t LaunchIngest(const Launch& launch, const NewRow<T>& row,
                         const RowTable<const void*>& rows, double* dots);

// Without `dots` (null) the update alone.
template <class T>
cudaError_t LaunchCommit(const Launch& launch, const NewUpdate<T>& update,
                         double* dots);

template <class T>
cudaError_t LaunchSeparate(const Launch& launch,
                           const SeparateMomenta<T>& momenta);

template <class T>
cudaError_t LaunchColumns(const Launch& launch, const Columns<T>& columns);

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_LAUNCH_H_
