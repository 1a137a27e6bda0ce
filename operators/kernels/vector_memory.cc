#include "operators/kernels/vector_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace concord {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<VectorMemory>> VectorMemory::Map(size_t bytes) {
  // The kernel begins a mapping at any page. To begin at a huge one takes some
  // more room; what lies before and behind is given back.
  const size_t room = bytes < kHugePage ? bytes : bytes + kHugePage;
  void* const mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "mmap of ", bytes, " bytes failed: ", std::strerror(errno)));
  }
  void* data = mapped;
  if (room > bytes) {
    size_t left = room;
    std::align(kHugePage, bytes, data, left);
    if (left < room) munmap(mapped, room - left);
    const size_t used = (bytes + kPage - 1) / kPage * kPage;
    if (used < left) munmap(static_cast<std::byte*>(data) + used, left - used);
  }
  // Only advice: a kernel without huge pages serves small ones.
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return absl::WrapUnique(new VectorMemory(data, bytes));
}

VectorMemory::~VectorMemory() { munmap(data_, size_); }

}  // namespace concord
