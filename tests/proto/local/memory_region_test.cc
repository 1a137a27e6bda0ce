// What two processes may share: memory that is there and stays there.
#include "proto/local/memory_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace concord::local {
namespace {

using ::testing::HasSubstr;

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

FileDescriptor Copy(const FileDescriptor& file) {
  return FileDescriptor(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
}

// A memfd of `bytes`, the first `allocated` of which are there.
FileDescriptor Memory(off_t bytes, off_t allocated, int seals) {
  FileDescriptor file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(file.get(), bytes), 0);
  if (allocated > 0) {
    EXPECT_EQ(::posix_fallocate(file.get(), 0, allocated), 0);
  }
  EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

TEST(MemoryRegion, IsWhatTheOtherSideWrites) {
  const auto created = MemoryRegion::Create(10'000);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_GE(created->bytes().size(), 10'000u);
  const auto received = MemoryRegion::Receive(Copy(created->file()));
  ASSERT_TRUE(received.ok()) << received.status();
  ASSERT_EQ(received->bytes().size(), created->bytes().size());
  EXPECT_NE(received->bytes().data(), created->bytes().data());
  EXPECT_EQ(received->bytes()[9'999], std::byte{0});
  created->bytes()[9'999] = std::byte{7};
  EXPECT_EQ(received->bytes()[9'999], std::byte{7});
  received->bytes()[1] = std::byte{8};
  EXPECT_EQ(created->bytes()[1], std::byte{8});
}

TEST(MemoryRegion, CannotBeMadeSmallerOrLarger) {
  const auto region = MemoryRegion::Create(1);
  ASSERT_TRUE(region.ok()) << region.status();
  const auto bytes = static_cast<off_t>(region->bytes().size());
  EXPECT_EQ(::ftruncate(region->file().get(), bytes / 2), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(region->file().get(), 2 * bytes), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(MemoryRegion, RefusesMemoryThatCouldBeTakenAway) {
  for (const int seals :
       {0, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_GROW}) {
    const auto region = MemoryRegion::Receive(Memory(8192, 8192, seals));
    ASSERT_EQ(region.status().code(), absl::StatusCode::kInvalidArgument)
        << seals;
    EXPECT_THAT(region.status().message(), HasSubstr("sealed"));
  }
}

TEST(MemoryRegion, RefusesMemoryThatIsNotThere) {
  for (const auto& [bytes, allocated] :
       {std::pair{0, 0}, {8192, 0}, {8192, 4096}}) {
    const auto region = MemoryRegion::Receive(Memory(bytes, allocated, kSeals));
    ASSERT_EQ(region.status().code(), absl::StatusCode::kInvalidArgument)
        << bytes << " " << allocated;
    EXPECT_THAT(region.status().message(), HasSubstr("wholly allocated"));
  }
}

TEST(MemoryRegion, RefusesWhatIsNoMemory) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  std::string name = ::testing::TempDir() + "regionXXXXXX";
  FileDescriptor files[] = {FileDescriptor(ends[0]), FileDescriptor(ends[1]),
                            FileDescriptor(::open("/dev/zero", O_RDWR)),
                            FileDescriptor(::mkstemp(name.data())),
                            FileDescriptor()};
  ::unlink(name.c_str());
  for (FileDescriptor& file : files) {
    EXPECT_EQ(MemoryRegion::Receive(std::move(file)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(MemoryRegion, MoreThanAnySystemHasIsRefused) {
  const auto region = MemoryRegion::Create(size_t{1} << 63);
  EXPECT_EQ(region.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace concord::local
