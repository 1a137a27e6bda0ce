#include "proto/wire/payload.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "proto/wire/checksum.h"
#include "tests/proto/wire/byte_buffers.h"

namespace concord::wire {
namespace {

Fragment AsFragment(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(Payload, KeepsItsBytesWhenMoved) {
  Payload payload(std::string("short"));  // A small string moves its bytes.
  const Payload moved = std::move(payload);
  EXPECT_EQ(Flatten(moved), "short");
}

TEST(Payload, HasNoEmptyFragments) {
  std::vector<grpc::Slice> slices = {grpc::Slice("ab"), grpc::Slice(""),
                                     grpc::Slice("cd")};
  const Payload payload(std::move(slices), 2, 4);
  ASSERT_EQ(payload.fragments().size(), 1);
  EXPECT_EQ(Flatten(payload), "cd");
}

TEST(ShareSlice, HoldsTheOwnerUntilTheLastSliceIsGone) {
  auto owner = std::make_shared<const std::string>("bytes");
  std::weak_ptr<const std::string> alive = owner;
  {
    const grpc::Slice slice = ShareSlice(owner, AsFragment(*owner));
    const grpc::Slice copy = slice;
    owner.reset();
    EXPECT_FALSE(alive.expired());
    EXPECT_EQ(copy.size(), 5);
  }
  EXPECT_TRUE(alive.expired());
}

TEST(Checksum, DoesNotDependOnHowTheBytesAreCut) {
  std::string bytes(10000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(i * 7919 >> 3);
  }
  Checksum checksum;
  for (const size_t step : {1, 17, 1024, 10000}) {
    checksum.Reset();
    for (size_t at = 0; at < bytes.size(); at += step) {
      checksum.Add(AsFragment(bytes).subspan(at, step));
    }
    EXPECT_EQ(checksum.Digest(), ChecksumOf(AsFragment(bytes)));
  }
}

TEST(Checksum, IsXxh3WithSeedZero) {
  EXPECT_EQ(ChecksumOf({}), 0x2d06800538d394c2u);
}

}  // namespace
}  // namespace concord::wire
