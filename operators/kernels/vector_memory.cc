#include "operators/kernels/vector_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace concord {

absl::StatusOr<std::unique_ptr<VectorMemory>> VectorMemory::Map(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "mmap of ", bytes, " bytes failed: ", std::strerror(errno)));
  }
  // Only advice: a kernel without huge pages serves small ones.
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return absl::WrapUnique(new VectorMemory(data, bytes));
}

VectorMemory::~VectorMemory() { munmap(data_, size_); }

}  // namespace concord
