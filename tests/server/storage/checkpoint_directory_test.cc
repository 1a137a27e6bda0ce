#include "server/storage/checkpoint_directory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::string_view AsText(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class CheckpointDirectoryTest : public ::testing::Test {
 protected:
  absl::Status Put(uint64_t step, absl::string_view bytes) {
    absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer =
        checkpoints_->Begin(step);
    if (!writer.ok()) return writer.status();
    const absl::Status status = (*writer)->Write(AsBytes(bytes));
    if (!status.ok()) return status;
    return (*writer)->Finish();
  }

  std::vector<uint64_t> Steps() const {
    const std::vector<CheckpointFile> files = checkpoints_->List().value();
    std::vector<uint64_t> steps;
    for (const CheckpointFile& file : files) steps.push_back(file.step);
    return steps;
  }

  std::string Content(uint64_t step) const {
    const MappedFile file = checkpoints_->Map(step).value();
    return std::string(AsText(file.bytes()));
  }

  const TemporaryDirectory parent_;
  std::unique_ptr<CheckpointDirectory> checkpoints_ =
      CheckpointDirectory::Open(parent_.path()).value();
};

TEST_F(CheckpointDirectoryTest, WhatWasFinishedIsListedByStepAndRead) {
  const absl::Time before = absl::Now() - absl::Seconds(1);
  ASSERT_TRUE(Put(12, "twelve").ok());
  ASSERT_TRUE(Put(9, "nine").ok());
  ASSERT_TRUE(Put(~0ull, "last").ok());
  ASSERT_TRUE(Put(0, "").ok());
  EXPECT_THAT(Steps(), ElementsAre(0, 9, 12, ~0ull));
  const CheckpointFile newest = checkpoints_->Newest().value();
  EXPECT_GE(newest.create_time, before);
  EXPECT_LE(newest.create_time, absl::Now() + absl::Seconds(1));
  EXPECT_EQ(Content(12), "twelve");
  EXPECT_EQ(Content(9), "nine");
  EXPECT_EQ(Content(0), "");
}

// A session that was put back writes lower steps after higher ones.
TEST_F(CheckpointDirectoryTest, TheNewestIsTheOneThatWasWrittenLast) {
  ASSERT_TRUE(Put(12, "twelve").ok());
  ASSERT_TRUE(Put(9, "nine").ok());
  ASSERT_TRUE(Put(15, "fifteen").ok());
  const auto written = [&](uint64_t step, int seconds) {
    std::filesystem::last_write_time(
        checkpoints_->Path(step),
        std::filesystem::file_time_type::clock::now() +
            std::chrono::seconds(seconds));
  };
  written(12, 1);
  written(15, 2);
  written(9, 3);
  EXPECT_EQ(checkpoints_->Newest()->step, 9);
  EXPECT_EQ(checkpoints_->Newest()->size_bytes, 4);
  ASSERT_TRUE(checkpoints_->Prune(2).ok());
  EXPECT_THAT(Steps(), ElementsAre(9, 15));
}

TEST_F(CheckpointDirectoryTest, NamesSortAsStepsDo) {
  for (const uint64_t step : {7ull, 10ull, 100ull, 1ull << 40, ~0ull}) {
    ASSERT_TRUE(Put(step, "x").ok());
  }
  std::vector<std::string> paths;
  for (const uint64_t step : Steps()) paths.push_back(checkpoints_->Path(step));
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end()));
  EXPECT_EQ(paths[0],
            parent_ / "checkpoints/step-00000000000000000007.safetensors");
}

TEST_F(CheckpointDirectoryTest, TheyAreThereWhenTheDirectoryIsOpenedAgain) {
  ASSERT_TRUE(Put(3, "three").ok());
  checkpoints_ = CheckpointDirectory::Open(parent_.path()).value();
  EXPECT_THAT(Steps(), ElementsAre(3));
  EXPECT_EQ(Content(3), "three");
}

TEST_F(CheckpointDirectoryTest, AWriterDestroyedHalfWayLeavesNothing) {
  ASSERT_TRUE(Put(1, "old").ok());
  for (const uint64_t step : {1, 2}) {
    std::unique_ptr<CheckpointWriter> writer =
        checkpoints_->Begin(step).value();
    ASSERT_TRUE(writer->Write(AsBytes("half")).ok());
    EXPECT_THAT(Steps(), ElementsAre(1));
    EXPECT_EQ(Content(1), "old");
  }
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(Content(1), "old");
  ASSERT_TRUE(checkpoints_->RemoveAll().ok());
  EXPECT_THAT(parent_.Names(), IsEmpty());
}

TEST_F(CheckpointDirectoryTest, WhatADeadProcessLeftIsRemovedAtOpen) {
  std::unique_ptr<CheckpointWriter> dead = checkpoints_->Begin(5).value();
  ASSERT_TRUE(dead->Write(AsBytes("half")).ok());
  WriteWholeFile(parent_ / "checkpoints/notes.txt", "somebody's");
  const std::unique_ptr<CheckpointDirectory> reopened =
      CheckpointDirectory::Open(parent_.path()).value();
  EXPECT_THAT(reopened->List().value(), IsEmpty());
  EXPECT_EQ(GetErrorReason(dead->Finish()), "STORAGE_FAILED");
  EXPECT_THAT(Steps(), IsEmpty());
  EXPECT_EQ(ReadWholeFile(parent_ / "checkpoints/notes.txt"), "somebody's");
}

TEST_F(CheckpointDirectoryTest, WritersOfOneStepDoNotMeet) {
  std::unique_ptr<CheckpointWriter> first = checkpoints_->Begin(4).value();
  std::unique_ptr<CheckpointWriter> second = checkpoints_->Begin(4).value();
  ASSERT_TRUE(first->Write(AsBytes("fir")).ok());
  ASSERT_TRUE(second->Write(AsBytes("second")).ok());
  ASSERT_TRUE(first->Write(AsBytes("st")).ok());
  ASSERT_TRUE(first->Finish().ok());
  EXPECT_EQ(Content(4), "first");
  ASSERT_TRUE(second->Finish().ok());
  EXPECT_EQ(Content(4), "second");
  EXPECT_THAT(Steps(), ElementsAre(4));
}

TEST_F(CheckpointDirectoryTest, AMappingOutlivesItsName) {
  ASSERT_TRUE(Put(1, "before").ok());
  const MappedFile mapping = checkpoints_->Map(1).value();
  ASSERT_TRUE(Put(1, "behind").ok());
  EXPECT_EQ(AsText(mapping.bytes()), "before");
  ASSERT_TRUE(checkpoints_->Prune(0).ok());
  EXPECT_EQ(AsText(mapping.bytes()), "before");
}

TEST_F(CheckpointDirectoryTest, PruneKeepsTheNewestAndOfTheSameTimeTheHighest) {
  const auto first = std::filesystem::file_time_type::clock::now();
  int minute = 0;
  for (const uint64_t step : {20, 1, 30, 3, 40}) {
    ASSERT_TRUE(Put(step, "x").ok());
    std::filesystem::last_write_time(
        checkpoints_->Path(step), first + std::chrono::minutes(minute++ / 2));
  }
  ASSERT_TRUE(checkpoints_->Prune(7).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 3, 20, 30, 40));
  ASSERT_TRUE(checkpoints_->Prune(4).ok());
  EXPECT_THAT(Steps(), ElementsAre(3, 20, 30, 40));  // 1 is as old as 20.
  ASSERT_TRUE(checkpoints_->Prune(2).ok());
  EXPECT_THAT(Steps(), ElementsAre(30, 40));
}

TEST_F(CheckpointDirectoryTest, WhatIsNotThereIsNotFound) {
  for (const absl::Status& status :
       {checkpoints_->Newest().status(), checkpoints_->Map(8).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(GetErrorReason(status), "CHECKPOINT_NOT_FOUND");
  }
  EXPECT_EQ(ErrorMetadata(checkpoints_->Map(8).status(), "step"), "8");
}

TEST_F(CheckpointDirectoryTest, FilesOfOtherNamesAreLetAlone) {
  const std::vector<std::string> names = {
      "step-1.safetensors", "step-00000000000000000001.safetensors.old",
      "step-99999999999999999999.safetensors",
      "step-0000000000000000000x.safetensors"};
  for (const std::string& name : names) {
    WriteWholeFile(parent_ / absl::StrCat("checkpoints/", name), "x");
  }
  EXPECT_THAT(Steps(), IsEmpty());
  ASSERT_TRUE(checkpoints_->Prune(0).ok());
  ASSERT_TRUE(checkpoints_->RemoveAll().ok());
  for (const std::string& name : names) {
    EXPECT_EQ(ReadWholeFile(parent_ / absl::StrCat("checkpoints/", name)), "x");
  }
}

TEST_F(CheckpointDirectoryTest, ADirectoryThatCannotBeMadeIsNamed) {
  WriteWholeFile(parent_ / "file", "x");
  const absl::Status status =
      CheckpointDirectory::Open(parent_ / "file").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED");
  EXPECT_EQ(ErrorMetadata(status, "file"), parent_ / "file/checkpoints");
}

// ---- A disk with no room, or that cannot be written ----

// The limit on a file's size, for as long as it lives; the disk's end as every
// user can have it.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit = {bytes, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~FileSizeLimit() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0);
    (void)std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST_F(CheckpointDirectoryTest, AFileThatGrowsTooLargeHarmsNothing) {
  ASSERT_TRUE(Put(1, "old").ok());
  absl::Status status;
  {
    const FileSizeLimit limit(1 << 16);
    status = Put(2, std::string(1 << 17, 'x'));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FULL");
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(Content(1), "old");
  EXPECT_TRUE(Put(2, std::string(1 << 17, 'x')).ok());
}

// The checkpoints on a file system of their own, seen by this thread only.
class SmallDiskTest : public CheckpointDirectoryTest {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", disk_.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
      GTEST_SKIP() << "this user may not mount a file system";
    }
    mounted_ = true;
    checkpoints_ = CheckpointDirectory::Open(disk_.path()).value();
  }

  void TearDown() override {
    if (mounted_) {
      EXPECT_EQ(::umount(disk_.path().c_str()), 0);
    }
  }

  const TemporaryDirectory disk_;
  bool mounted_ = false;
};

TEST_F(SmallDiskTest, AFullDiskHarmsNothing) {
  ASSERT_TRUE(Put(1, "old").ok());
  const absl::Status status = Put(2, std::string(1 << 17, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FULL");
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(Content(1), "old");
  // What it had written is given back.
  EXPECT_TRUE(Put(2, std::string(1 << 15, 'x')).ok());
}

TEST_F(SmallDiskTest, AReadOnlyDiskIsReadAndRefusesTheRest) {
  ASSERT_TRUE(Put(1, "old").ok());
  ASSERT_EQ(::mount("none", disk_.path().c_str(), nullptr,
                    MS_REMOUNT | MS_RDONLY, nullptr),
            0);
  for (const absl::Status& status :
       {Put(2, "new"), checkpoints_->Prune(0), checkpoints_->RemoveAll()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED");
    EXPECT_EQ(ErrorMetadata(status, "why"), "Read-only file system");
  }
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(Content(1), "old");
}

}  // namespace
}  // namespace concord
