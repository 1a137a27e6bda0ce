// What lets the passes' arithmetic be compiled for a GPU and for the host,
// where tests run it.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_PORTABLE_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_PORTABLE_H_

#ifdef __CUDACC__
#define CONCORD_PORTABLE __host__ __device__ inline
#define CONCORD_UNROLL(n) _Pragma("unroll")
#else
#define CONCORD_PORTABLE inline
#define CONCORD_UNROLL(n)
#endif

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_PORTABLE_H_
