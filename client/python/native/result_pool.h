// Memory for results that the caller keeps.
//
// Fresh memory of tens of megabytes costs as much as a pass over it (the kernel
// zeroes every page), so buffers come back when the last tensor on them is
// gone, and are used again. At most two spare ones are kept per pool.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "operators/kernels/kernels.h"

namespace concord::python {

class ResultPool;

// One result's memory; goes back to its pool when destroyed, on any thread.
// The content of a recycled buffer is whatever it was.
class ResultBuffer {
 public:
  ResultBuffer(std::shared_ptr<ResultPool> pool,
               std::unique_ptr<DeviceMemory> memory);
  ResultBuffer(const ResultBuffer&) = delete;
  ResultBuffer& operator=(const ResultBuffer&) = delete;
  ~ResultBuffer();

  void* data() const { return memory_->data(); }
  size_t size() const { return size_; }  // Bytes.

 private:
  const std::shared_ptr<ResultPool> pool_;
  std::unique_ptr<DeviceMemory> memory_;
  const size_t size_;
};

// Buffers of one size, host memory. Threads: any.
class ResultPool : public std::enable_shared_from_this<ResultPool> {
 public:
  static constexpr size_t kMostSpare = 2;

  // `kernels` gives the memory and must be host accessible.
  ResultPool(std::shared_ptr<Kernels> kernels, size_t bytes)
      : kernels_(std::move(kernels)), bytes_(bytes) {}

  // RESOURCE_EXHAUSTED when there is no memory.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> Take();

  size_t bytes() const { return bytes_; }

 private:
  friend class ResultBuffer;
  void GiveBack(std::unique_ptr<DeviceMemory> memory);

  const std::shared_ptr<Kernels> kernels_;
  const size_t bytes_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<DeviceMemory>> spare_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_
