// Memory for results that the caller keeps.
//
// Fresh memory of tens of megabytes costs as much as a pass over it (the kernel
// zeroes every page), so buffers come back when the last tensor on them is
// gone, and are used again. At most two spare ones are kept per pool.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "operators/kernels/kernels.h"

namespace concord::python {

// One result's memory, let go when destroyed, on any thread.
class ResultBuffer {
 public:
  // `memory` has `bytes` bytes.
  ResultBuffer(std::shared_ptr<void> memory, size_t bytes)
      : memory_(std::move(memory)), size_(bytes) {}
  ResultBuffer(const ResultBuffer&) = delete;
  ResultBuffer& operator=(const ResultBuffer&) = delete;

  void* data() const { return memory_.get(); }
  size_t size() const { return size_; }  // Bytes.

 private:
  const std::shared_ptr<void> memory_;
  const size_t size_;
};

// Buffers of one size, host memory. Threads: any.
class ResultPool : public std::enable_shared_from_this<ResultPool> {
 public:
  static constexpr size_t kMostSpare = 2;

  // `kernels` gives the memory and must be host accessible.
  ResultPool(std::shared_ptr<Kernels> kernels, size_t bytes)
      : kernels_(std::move(kernels)), bytes_(bytes) {}

  // Goes back to the pool when destroyed; the content of a recycled one is
  // whatever it was. RESOURCE_EXHAUSTED when there is no memory.
  absl::StatusOr<std::unique_ptr<ResultBuffer>> Take();

  size_t bytes() const { return bytes_; }

 private:
  void GiveBack(std::unique_ptr<DeviceMemory> memory);

  const std::shared_ptr<Kernels> kernels_;
  const size_t bytes_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<DeviceMemory>> spare_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_RESULT_POOL_H_
