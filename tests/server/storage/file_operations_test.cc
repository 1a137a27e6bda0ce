#include "server/storage/file_operations.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/local/file_descriptor.h"
#include "server/storage/file_status.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(FileErrorTest, NoRoomIsToldFromAFailure) {
  for (const int error : {ENOSPC, EDQUOT, EFBIG}) {
    const absl::Status status = FileError(error, "writing", "/state/file");
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(GetErrorReason(status), "STORAGE_FULL");
  }
  for (const int error : {EIO, EACCES, EROFS, EMFILE}) {
    const absl::Status status = FileError(error, "writing", "/state/file");
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED");
  }
}

TEST(FileErrorTest, NamesTheFileTheAttemptAndTheReason) {
  const absl::Status status = FileError(ENOSPC, "writing", "/state/file");
  EXPECT_EQ(ErrorMetadata(status, "file"), "/state/file");
  EXPECT_EQ(ErrorMetadata(status, "why"), "No space left on device");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("writing /state/file: No space left on device"));
}

TEST(FileDescriptorTest, HasOneOwnerAndClosesAtItsEnd) {
  const TemporaryDirectory directory;
  int number;
  {
    FileDescriptor first =
        OpenFile(directory / "file", O_CREAT | O_RDWR).value();
    number = first.get();
    FileDescriptor second = std::move(first);
    EXPECT_FALSE(first.is_open());
    EXPECT_EQ(second.get(), number);
    FileDescriptor third = OpenFile(directory / "file", O_RDONLY).value();
    third = std::move(second);
    EXPECT_EQ(third.get(), number);
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(FileOperationsTest, AFileIsWrittenPieceByPieceAndRenamed) {
  const TemporaryDirectory directory;
  const std::string path = directory / "written";
  const FileDescriptor file =
      OpenFile(path, O_CREAT | O_EXCL | O_WRONLY).value();
  ASSERT_TRUE(WriteAll(file, AsBytes("one "), path).ok());
  ASSERT_TRUE(WriteAll(file, {}, path).ok());
  ASSERT_TRUE(WriteAll(file, AsBytes("two"), path).ok());
  ASSERT_TRUE(SyncFile(file, path).ok());
  ASSERT_TRUE(RenameFile(path, directory / "final").ok());
  ASSERT_TRUE(SyncDirectory(directory.path()).ok());
  EXPECT_THAT(directory.Names(), ElementsAre("final"));
  EXPECT_EQ(ReadWholeFile(directory / "final"), "one two");
}

TEST(FileOperationsTest, RemovingAndMakingWhatIsSoAlreadySucceeds) {
  const TemporaryDirectory directory;
  WriteWholeFile(directory / "file", "x");
  EXPECT_TRUE(RemoveFile(directory / "file").ok());
  EXPECT_TRUE(RemoveFile(directory / "file").ok());
  EXPECT_THAT(directory.Names(), IsEmpty());
  EXPECT_TRUE(MakeDirectory(directory / "room").ok());
  EXPECT_TRUE(MakeDirectory(directory / "room").ok());
  EXPECT_THAT(directory.Names(), ElementsAre("room"));
}

TEST(FileOperationsTest, EveryFailureNamesItsFile) {
  const TemporaryDirectory directory;
  const std::string path = directory / "none" + "/file";
  const FileDescriptor read_only =
      OpenFile(directory.path(), O_RDONLY | O_DIRECTORY).value();
  for (const absl::Status& status :
       {OpenFile(path, O_RDONLY).status(), SyncDirectory(path),
        RenameFile(directory / "nothing", path), MakeDirectory(path),
        WriteAll(read_only, AsBytes("x"), path),
        SyncFile(FileDescriptor(), path)}) {
    EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED") << status;
    EXPECT_EQ(ErrorMetadata(status, "file"), path);
  }
  EXPECT_EQ(GetErrorReason(RemoveFile(directory.path())), "STORAGE_FAILED");
}

}  // namespace
}  // namespace concord
