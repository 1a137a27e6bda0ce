#include "client/cpp/shared_results.h"

#include <unistd.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "proto/local/memory_region.h"

namespace concord {
namespace {

constexpr size_t kBytes = 10'000;

// As a server has it.
local::MemoryRegion MapAgain(const SharedResults& results, const void* update) {
  const auto found = results.Find(update);
  EXPECT_TRUE(found.has_value());
  auto region = local::MemoryRegion::Receive(
      FileDescriptor(::dup(found->region->file().get())));
  EXPECT_TRUE(region.ok()) << region.status();
  return *std::move(region);
}

TEST(SharedResults, WhatTheServerWritesIsThere) {
  const auto results = SharedResults::Make(kBytes);
  const auto update = results->Take();
  const auto servers = MapAgain(*results, update.get());
  ASSERT_GE(servers.bytes().size(), kBytes);
  servers.bytes()[kBytes - 1] = std::byte{7};
  EXPECT_EQ(static_cast<std::byte*>(update.get())[kBytes - 1], std::byte{7});
}

TEST(SharedResults, MemoryIsUsedAgainWhenItsCallerHasLetItGo) {
  const auto results = SharedResults::Make(kBytes);
  auto update = results->Take();
  const void* const place = update.get();
  const uint64_t id = results->Find(place)->id;
  update.reset();
  EXPECT_FALSE(results->Find(place).has_value());
  update = results->Take();
  EXPECT_EQ(update.get(), place);
  EXPECT_EQ(results->Find(place)->id, id);
}

TEST(SharedResults, ThereAreNoMoreThanItSays) {
  const auto results = SharedResults::Make(kBytes);
  std::vector<std::shared_ptr<void>> updates;
  for (size_t i = 0; i < SharedResults::kMost; ++i) {
    updates.push_back(results->Take());
    EXPECT_NE(updates.back(), nullptr);
  }
  EXPECT_EQ(results->Take(), nullptr);
  updates.pop_back();
  EXPECT_NE(results->Take(), nullptr);
}

TEST(SharedResults, AnUpdateOutlivesWhatMadeIt) {
  auto results = SharedResults::Make(kBytes);
  const auto update = results->Take();
  results.reset();
  static_cast<std::byte*>(update.get())[0] = std::byte{1};
  EXPECT_EQ(static_cast<std::byte*>(update.get())[0], std::byte{1});
}

TEST(SharedResults, NothingOfALateServerReachesDetachedMemory) {
  const auto results = SharedResults::Make(kBytes);
  auto update = results->Take();
  auto* const bytes = static_cast<std::byte*>(update.get());
  const auto servers = MapAgain(*results, bytes);
  const uint64_t id = results->Find(bytes)->id;
  ASSERT_TRUE(results->Detach(bytes).ok());
  EXPECT_FALSE(results->Find(bytes).has_value());
  bytes[5] = std::byte{1};
  servers.bytes()[5] = std::byte{2};
  EXPECT_EQ(bytes[5], std::byte{1});
  EXPECT_TRUE(results->Detach(bytes).ok());
  // Its place is other memory's from now on.
  update.reset();
  std::vector<std::shared_ptr<void>> updates;
  for (size_t i = 0; i < SharedResults::kMost; ++i) {
    updates.push_back(results->Take());
    ASSERT_NE(updates.back(), nullptr);
    EXPECT_NE(results->Find(updates.back().get())->id, id);
  }
}

TEST(SharedResults, OtherMemoryIsNotTheirs) {
  const auto results = SharedResults::Make(kBytes);
  const auto update = results->Take();
  std::vector<std::byte> other(kBytes);
  EXPECT_FALSE(results->Find(other.data()).has_value());
  EXPECT_TRUE(results->Detach(other.data()).ok());
}

}  // namespace
}  // namespace concord
