// Compiled by nvcc; no contraction (-fmad=false), IEEE division and root.
#include "operators/kernels/cuda/block_dots.h"
#include "operators/kernels/cuda/launch.h"

namespace concord::cuda {
namespace {

// One thread block per block of the vectors.
template <class T, class Source, class Row>
__device__ void BlockWithDots(const Source& source, const RowTable<Row>& rows,
                              int num_rows, bool aligned, size_t count,
                              double* dots) {
  extern __shared__ double shared[];
  const int thread = static_cast<int>(threadIdx.x);
  const size_t first = size_t{blockIdx.x} * kBlock;
  const size_t left = count - first;
  const int own = left < kBlock ? static_cast<int>(left) : kBlock;
  double* const of_block = dots + size_t{blockIdx.x} * (num_rows + 1);
  int begin = 0;
  do {
    const Group group = GroupAt(begin, num_rows);
    double sum = 0;
    for (int tile = 0; tile < own; tile += kTile) {
      FillTile<T>(source, rows, group, aligned, first, own, tile, thread,
                  shared);
      __syncthreads();
      const int in_tile = own - tile < kTile ? own - tile : kTile;
      sum = AddTile<T>(sum, group, in_tile, thread, shared);
      __syncthreads();
    }
    if (thread < group.products() * kPartials) shared[thread] = sum;
    __syncthreads();
    AddPartials(group, thread, shared, of_block);
    __syncthreads();
    begin += kGroupRows;
  } while (begin < num_rows);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    Ingest(const __grid_constant__ NewRow<T> row,
           const __grid_constant__ RowTable<const void*> rows, bool aligned,
           size_t count, double* dots) {
  BlockWithDots<T>(row, rows, rows.count, aligned, count, dots);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    CommitWithDots(const __grid_constant__ NewUpdate<T> update, bool aligned,
                   size_t count, double* dots) {
  BlockWithDots<T>(update, update.rows, update.in_direction, aligned, count,
                   dots);
}

// One thread per kElements elements.
template <class Work>
__device__ void ForOwnElements(size_t count, bool aligned, const Work& work) {
  const size_t first =
      (size_t{blockIdx.x} * kThreads + threadIdx.x) * kElements;
  if (first >= count) return;
  const size_t left = count - first;
  if (aligned && left >= kElements) {
    work.template operator()<true>(first, kElements);
  } else {
    work.template operator()<false>(
        first, left < kElements ? static_cast<int>(left) : kElements);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    Commit(const __grid_constant__ NewUpdate<T> update, bool aligned,
           size_t count) {
  ForOwnElements(count, aligned, [&]<bool kWide>(size_t first, int valid) {
    double wide[kElements];
    update.template Make<kWide>(first, valid, wide);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    Separate(const __grid_constant__ SeparateMomenta<T> momenta, bool aligned,
             size_t count) {
  ForOwnElements(count, aligned, [&]<bool kWide>(size_t first, int valid) {
    momenta.template Make<kWide>(first, valid);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    Combine(const __grid_constant__ Columns<T> columns, size_t count) {
  const size_t element = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (element < count) columns.Make(element);
}

unsigned Blocks(size_t count, size_t elements) {
  return static_cast<unsigned>((count + elements - 1) / elements);
}

template <class Kernel>
cudaError_t AllowShared(Kernel* kernel) {
  return cudaFuncSetAttribute(kernel,
                              cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(SharedBytes(kGroupRows)));
}

}  // namespace

cudaError_t Prepare() {
  for (const cudaError_t error :
       {AllowShared(Ingest<float>), AllowShared(Ingest<double>),
        AllowShared(CommitWithDots<float>),
        AllowShared(CommitWithDots<double>)}) {
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <class T>
cudaError_t LaunchIngest(const Launch& launch, const NewRow<T>& row,
                         const RowTable<const void*>& rows, double* dots) {
  Ingest<T><<<Blocks(launch.count, kBlock), kThreads, SharedBytes(rows.count),
              launch.stream>>>(row, rows, launch.aligned, launch.count, dots);
  return cudaGetLastError();
}

template <class T>
cudaError_t LaunchCommit(const Launch& launch, const NewUpdate<T>& update,
                         double* dots) {
  if (dots == nullptr) {
    Commit<T><<<Blocks(launch.count, kTile), kThreads, 0, launch.stream>>>(
        update, launch.aligned, launch.count);
  } else {
    CommitWithDots<T><<<Blocks(launch.count, kBlock), kThreads,
                        SharedBytes(update.in_direction), launch.stream>>>(
        update, launch.aligned, launch.count, dots);
  }
  return cudaGetLastError();
}

template <class T>
cudaError_t LaunchSeparate(const Launch& launch,
                           const SeparateMomenta<T>& momenta) {
  Separate<T><<<Blocks(launch.count, kTile), kThreads, 0, launch.stream>>>(
      momenta, launch.aligned, launch.count);
  return cudaGetLastError();
}

template <class T>
cudaError_t LaunchColumns(const Launch& launch, const Columns<T>& columns) {
  Combine<T><<<Blocks(launch.count, kThreads), kThreads, 0, launch.stream>>>(
      columns, launch.count);
  return cudaGetLastError();
}

#define CONCORD_INSTANTIATE(T)                                              \
  template cudaError_t LaunchIngest(const Launch&, const NewRow<T>&,        \
                                    const RowTable<const void*>&, double*); \
  template cudaError_t LaunchCommit(const Launch&, const NewUpdate<T>&,     \
                                    double*);                               \
  template cudaError_t LaunchSeparate(const Launch&,                        \
                                      const SeparateMomenta<T>&);           \
  template cudaError_t LaunchColumns(const Launch&, const Columns<T>&);
CONCORD_INSTANTIATE(float)
CONCORD_INSTANTIATE(double)

}  // namespace concord::cuda
