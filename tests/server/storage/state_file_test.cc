// What a state file keeps, and whom it belongs to.
#include "server/storage/state_file.h"

#include <signal.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/wire/checksum.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

constexpr StateFile::Shape kShape = {5000, 3, 300};

class StateFileTest : public ::testing::Test {
 protected:
  std::shared_ptr<StateFile> Make() const {
    auto made =
        StateFile::Create(path_, kShape, "uid-1", "what it is", "boot-1");
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }

  absl::StatusOr<std::shared_ptr<StateFile>> Open(
      const std::string& boot = "boot-1") const {
    return StateFile::Open(path_, boot);
  }

  // The first `bytes` of the file replaced, with a header checksum that fits.
  void Rewrite(size_t at, absl::string_view bytes) const {
    constexpr size_t kChecksumAt = 112;
    std::string file = ReadWholeFile(path_);
    file.replace(at, bytes.size(), bytes.data(), bytes.size());
    const uint64_t checksum = wire::ChecksumOf(
        AsBytes(absl::string_view(file).substr(0, kChecksumAt)));
    std::memcpy(&file[kChecksumAt], &checksum, sizeof(checksum));
    WriteWholeFile(path_, file);
  }

  TemporaryDirectory place_;
  const std::string path_ = place_ / "state";
};

TEST_F(StateFileTest, WhatWasWrittenLastIsThereAgain) {
  {
    const auto file = Make();
    for (uint32_t place = 0; place < 3; ++place) {
      const auto vector = file->Allocate(place);
      ASSERT_TRUE(vector.ok()) << vector.status();
      std::memset((*vector)->data(), 'a' + static_cast<int>(place), 5000);
    }
    for (const char* record : {"first", "second", "", "the last"}) {
      ASSERT_TRUE(file->Write(record).ok());
    }
  }
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->identity(), "uid-1");
  EXPECT_EQ((*file)->creation(), "what it is");
  EXPECT_EQ((*file)->record(), "the last");
  EXPECT_FALSE((*file)->was_clean());
  EXPECT_EQ((*file)->shape().vector_bytes, 5000);
  for (uint32_t place = 0; place < 3; ++place) {
    const auto vector = (*file)->Allocate(place);
    ASSERT_TRUE(vector.ok()) << vector.status();
    const std::string expected(5000, static_cast<char>('a' + place));
    EXPECT_EQ(std::memcmp((*vector)->data(), expected.data(), 5000), 0);
  }
}

TEST_F(StateFileTest, RecordsGoOnWhereTheyWere) {
  ASSERT_TRUE(Make()->Write("one").ok());
  for (const char* record : {"two", "three", "four"}) {
    const auto file = Open();
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Write(record).ok());
    EXPECT_EQ((*Open())->record(), record);
  }
}

TEST_F(StateFileTest, ARecordThatIsTooLongLeavesTheOneBefore) {
  const auto file = Make();
  ASSERT_TRUE(file->Write("kept").ok());
  const absl::Status status = file->Write(std::string(301, 'x'));
  EXPECT_EQ(GetErrorReason(status), "LIMIT_EXCEEDED");
  EXPECT_EQ((*Open())->record(), "kept");
}

TEST_F(StateFileTest, AnotherBootFindsItUncleanUnlessItWasClosed) {
  {
    const auto file = Make();
    ASSERT_TRUE(file->Write("in use").ok());
  }
  const absl::Status unclean = Open("boot-2").status();
  EXPECT_EQ(unclean.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorReason(unclean), "UNCLEAN");
  EXPECT_EQ(ErrorMetadata(unclean, "file"), path_);
  {
    const auto file = Open("boot-1");
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Close("closed", [] { return false; }).ok());
  }
  const auto file = Open("boot-2");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->was_clean());
  EXPECT_EQ((*file)->record(), "closed");
  // In use again, by that boot.
  EXPECT_EQ(GetErrorReason(Open("boot-3").status()), "UNCLEAN");
}

TEST_F(StateFileTest, OneThatWasNotFinishedIsForeign) {
  Make();
  EXPECT_EQ(GetErrorReason(Open().status()), "STATE_FOREIGN");
}

TEST_F(StateFileTest, AnotherKindOfFileIsForeign) {
  WriteWholeFile(path_, std::string(10'000, 'x'));
  EXPECT_EQ(GetErrorReason(Open().status()), "STATE_FOREIGN");
}

TEST_F(StateFileTest, OneOfANewerVersionIsSaidToBeNewer) {
  ASSERT_TRUE(Make()->Write("a record").ok());
  Rewrite(8, absl::string_view("\x02\0\0\0", 4));
  const absl::Status status = Open().status();
  EXPECT_EQ(GetErrorReason(status), "STATE_NEWER") << status;
  EXPECT_THAT(ErrorMetadata(status, "why"), testing::HasSubstr("version 2"));
}

TEST_F(StateFileTest, ItIsNotMadeOverAnotherOne) {
  ASSERT_TRUE(Make()->Write("the first").ok());
  const absl::Status status =
      StateFile::Create(path_, kShape, "uid-2", "another", "boot-1").status();
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED") << status;
  EXPECT_EQ((*Open())->record(), "the first");
}

TEST_F(StateFileTest, WithoutRoomItIsNotMadeAndNothingIsLeft) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {10'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status =
      StateFile::Create(path_, kShape, "uid-1", "what it is", "boot-1")
          .status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FULL");
  EXPECT_EQ(ErrorMetadata(status, "file"), path_);
  EXPECT_TRUE(place_.Names().empty());
  ASSERT_TRUE(Make()->Write("now there is room").ok());
}

TEST_F(StateFileTest, WhereNothingCanBeMadeTheErrorNamesTheFile) {
  WriteWholeFile(place_ / "a file", "");
  const std::string path = place_ / "a file/state";
  const absl::Status status =
      StateFile::Create(path, kShape, "uid-1", "", "boot-1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorReason(status), "STORAGE_FAILED");
  EXPECT_EQ(ErrorMetadata(status, "file"), path);
}

}  // namespace
}  // namespace concord
