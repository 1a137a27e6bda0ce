#include "proto/local/memory_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace concord::local {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
// stat() counts blocks in this unit, whatever the file system's own.
constexpr uint64_t kStatBlock = 512;

absl::Status Failed(const char* what, size_t bytes) {
  return absl::ResourceExhaustedError(absl::StrCat(
      what, " of ", bytes, " shared bytes failed: ", std::strerror(errno)));
}

absl::StatusOr<absl::Span<std::byte>> Map(const FileDescriptor& file,
                                          size_t bytes) {
  // Populated: the first steps are to cost what the later ones do.
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (data == MAP_FAILED) return Failed("mmap", bytes);
  return absl::MakeSpan(static_cast<std::byte*>(data), bytes);
}

}  // namespace

absl::StatusOr<MemoryRegion> MemoryRegion::Create(size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  bytes = (bytes + page - 1) / page * page;
  FileDescriptor file(
      ::memfd_create("concord", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.is_open()) return Failed("memfd_create", bytes);
  const int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
  if (error != 0) {
    errno = error;
    return Failed("allocation", bytes);
  }
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) {
    return Failed("sealing", bytes);
  }
  const absl::StatusOr<absl::Span<std::byte>> mapped = Map(file, bytes);
  if (!mapped.ok()) return mapped.status();
  return MemoryRegion(std::move(file), *mapped);
}

absl::StatusOr<MemoryRegion> MemoryRegion::Receive(FileDescriptor file) {
  // Memory alone has seals.
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return absl::InvalidArgumentError(
        "shared memory must be a memfd that is sealed against shrinking, "
        "growing and further seals");
  }
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("fstat of shared memory: ", std::strerror(errno)));
  }
  const auto bytes = static_cast<uint64_t>(status.st_size);
  if (bytes == 0 ||
      static_cast<uint64_t>(status.st_blocks) * kStatBlock < bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shared memory must be wholly allocated and not empty: of ", bytes,
        " bytes there are ", status.st_blocks * kStatBlock));
  }
  const absl::StatusOr<absl::Span<std::byte>> mapped = Map(file, bytes);
  if (!mapped.ok()) return mapped.status();
  return MemoryRegion(FileDescriptor(), *mapped);
}

absl::Status MemoryRegion::Detach() {
  void* const own = ::mmap(nullptr, bytes_.size(), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (own == MAP_FAILED) return Failed("mmap beside", bytes_.size());
  std::memcpy(own, bytes_.data(), bytes_.size());
  if (::mremap(own, bytes_.size(), bytes_.size(), MREMAP_MAYMOVE | MREMAP_FIXED,
               bytes_.data()) == MAP_FAILED) {
    const absl::Status failed = Failed("mremap over", bytes_.size());
    ::munmap(own, bytes_.size());
    return failed;
  }
  file_ = FileDescriptor();
  return absl::OkStatus();
}

MemoryRegion::~MemoryRegion() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace concord::local
