// Memory for vectors: zeroed pages straight from the kernel, given back when
// the object goes, so that deleting a session shrinks the process at once.
#ifndef CONCORD_OPERATORS_KERNELS_VECTOR_MEMORY_H_
#define CONCORD_OPERATORS_KERNELS_VECTOR_MEMORY_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace concord {

// A private anonymous mapping, on huge pages where the kernel offers them: one
// of two MiB or more begins at such a page.
// Pages that were never written take no memory.
class VectorMemory {
 public:
  // RESOURCE_EXHAUSTED when the kernel refuses. `bytes` >= 1.
  static absl::StatusOr<std::unique_ptr<VectorMemory>> Map(size_t bytes);

  ~VectorMemory();
  VectorMemory(const VectorMemory&) = delete;
  VectorMemory& operator=(const VectorMemory&) = delete;

  void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  VectorMemory(void* data, size_t size) : data_(data), size_(size) {}

  void* const data_;
  const size_t size_;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_VECTOR_MEMORY_H_
