// A state file that was cut, or has a flipped bit: refused with its reason, or
// (where that byte is not in use) the same as ever; never something else.
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/storage/state_file.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {
namespace {

using ::testing::AnyOf;

constexpr StateFile::Shape kShape = {5000, 3, 300};
constexpr size_t kPage = 4096;
constexpr int kPlaces = 1000;
constexpr uint64_t kSeed = 20261123;

class StateFileDamage : public ::testing::TestWithParam<bool> {
 protected:
  StateFileDamage() {
    {
      auto made =
          StateFile::Create(path_, kShape, "uid-1", "what it is", "boot");
      EXPECT_TRUE(made.ok()) << made.status();
      for (int step = 1; step <= 5; ++step) {
        EXPECT_TRUE((*made)->Write(std::string(100, 'a' + step)).ok());
      }
      if (GetParam()) {
        EXPECT_TRUE((*made)->Close("closed", [] { return false; }).ok());
      }
    }
    whole_ = ReadWholeFile(path_);
    record_ = GetParam() ? "closed" : std::string(100, 'a' + 5);
  }

  // True: taken as it was. Anything but that and a refusal fails the test.
  bool IsTaken(const std::string& bytes) const {
    WriteWholeFile(path_, bytes);
    const auto file = StateFile::Open(path_, "boot");
    if (!file.ok()) {
      EXPECT_THAT(GetErrorReason(file.status()),
                  AnyOf("STATE_DAMAGED", "STATE_FOREIGN"))
          << file.status();
      EXPECT_EQ(ErrorMetadata(file.status(), "file"), path_);
      EXPECT_NE(ErrorMetadata(file.status(), "why"), "");
      return false;
    }
    EXPECT_EQ((*file)->identity(), "uid-1");
    EXPECT_EQ((*file)->creation(), "what it is");
    EXPECT_EQ((*file)->record(), record_);
    EXPECT_EQ((*file)->was_clean(), GetParam());
    return true;
  }

  bool IsTakenWithAFlippedBit(size_t at, int bit) const {
    std::string flipped = whole_;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
    return IsTaken(flipped);
  }

  const TemporaryDirectory place_{FastTempDir()};
  const std::string path_ = place_ / "state";
  std::string whole_;
  std::string record_;
};

TEST_P(StateFileDamage, AFlippedBitOfTheHeaderIsFound) {
  constexpr size_t kHeader = 120;  // The rest of its page is not in use.
  for (size_t at = 0; at < kPage; ++at) {
    for (int bit = at < kHeader ? 0 : 7; bit < 8; ++bit) {
      ASSERT_EQ(IsTakenWithAFlippedBit(at, bit), at >= kHeader) << at;
      if (HasFailure()) return;
    }
  }
}

TEST_P(StateFileDamage, AFlippedBitOfTheMountAndTheSwitchIsFound) {
  for (int bit = 0; bit < 8; ++bit) {
    // The boot's name (64 bytes), the clean flag and their checksum.
    for (size_t at = kPage; at < kPage + 80; ++at) {
      ASSERT_FALSE(IsTakenWithAFlippedBit(at, bit)) << at;
    }
    for (size_t at = 2 * kPage; at < 2 * kPage + 8; ++at) {
      ASSERT_FALSE(IsTakenWithAFlippedBit(at, bit)) << at;
    }
  }
}

TEST_P(StateFileDamage, FlippedBitsAtRandomPlacesTakeNothingElse) {
  std::mt19937_64 random(kSeed);
  int refused = 0;
  for (int i = 0; i < kPlaces && !HasFailure(); ++i) {
    // Those before the vectors, which have checksums of their own (in a
    // session's record, see damaged_state_test.cc).
    const size_t at = random() % (6 * kPage);
    refused +=
        IsTakenWithAFlippedBit(at, static_cast<int>(random() % 8)) ? 0 : 1;
  }
  EXPECT_GT(refused, 0) << "seed " << kSeed;
}

TEST_P(StateFileDamage, AFileCutAnywhereIsTruncated) {
  for (size_t length = 0; length <= kPage; ++length) {
    ASSERT_FALSE(IsTaken(whole_.substr(0, length))) << length;
  }
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < kPlaces; ++i) {
    const size_t length = random() % whole_.size();
    ASSERT_FALSE(IsTaken(whole_.substr(0, length))) << length;
  }
  EXPECT_TRUE(IsTaken(whole_));
}

INSTANTIATE_TEST_SUITE_P(After, StateFileDamage, testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "AClose" : "ADeath";
                         });

}  // namespace
}  // namespace concord
