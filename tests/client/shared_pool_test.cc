#include "client/cpp/shared_pool.h"

#include <unistd.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "proto/local/memory_region.h"

namespace concord {
namespace {

constexpr size_t kBytes = 10'000;
constexpr size_t kMost = 3;

// As a server has it.
local::MemoryRegion MapAgain(const SharedPool& pool, const void* update) {
  const auto found = pool.Find(update);
  EXPECT_TRUE(found.has_value());
  auto region = local::MemoryRegion::Receive(
      FileDescriptor(::dup(found->region->file().get())));
  EXPECT_TRUE(region.ok()) << region.status();
  return *std::move(region);
}

TEST(SharedPool, WhatTheServerWritesIsThere) {
  const auto pool = SharedPool::Make(kBytes, kMost);
  const auto update = pool->Take();
  const auto servers = MapAgain(*pool, update.get());
  ASSERT_GE(servers.bytes().size(), kBytes);
  servers.bytes()[kBytes - 1] = std::byte{7};
  EXPECT_EQ(static_cast<std::byte*>(update.get())[kBytes - 1], std::byte{7});
}

TEST(SharedPool, MemoryIsUsedAgainWhenItsCallerHasLetItGo) {
  const auto pool = SharedPool::Make(kBytes, kMost);
  auto update = pool->Take();
  const void* const place = update.get();
  const uint64_t id = pool->Find(place)->id;
  update.reset();
  EXPECT_FALSE(pool->Find(place).has_value());
  update = pool->Take();
  EXPECT_EQ(update.get(), place);
  EXPECT_EQ(pool->Find(place)->id, id);
}

TEST(SharedPool, ThereAreNoMoreThanItSays) {
  const auto pool = SharedPool::Make(kBytes, kMost);
  std::vector<std::shared_ptr<void>> updates;
  for (size_t i = 0; i < kMost; ++i) {
    updates.push_back(pool->Take());
    EXPECT_NE(updates.back(), nullptr);
  }
  EXPECT_EQ(pool->Take(), nullptr);
  updates.pop_back();
  EXPECT_NE(pool->Take(), nullptr);
}

TEST(SharedPool, AnUpdateOutlivesWhatMadeIt) {
  auto pool = SharedPool::Make(kBytes, kMost);
  const auto update = pool->Take();
  pool.reset();
  static_cast<std::byte*>(update.get())[0] = std::byte{1};
  EXPECT_EQ(static_cast<std::byte*>(update.get())[0], std::byte{1});
}

TEST(SharedPool, NothingOfALateServerReachesDetachedMemory) {
  const auto pool = SharedPool::Make(kBytes, kMost);
  auto update = pool->Take();
  auto* const bytes = static_cast<std::byte*>(update.get());
  const auto servers = MapAgain(*pool, bytes);
  const uint64_t id = pool->Find(bytes)->id;
  bytes[kBytes - 1] = std::byte{9};
  ASSERT_TRUE(pool->Detach(bytes).ok());
  EXPECT_EQ(bytes[kBytes - 1], std::byte{9});
  EXPECT_FALSE(pool->Find(bytes).has_value());
  bytes[5] = std::byte{1};
  servers.bytes()[5] = std::byte{2};
  EXPECT_EQ(bytes[5], std::byte{1});
  EXPECT_TRUE(pool->Detach(bytes).ok());
  // Its place is other memory's from now on.
  update.reset();
  std::vector<std::shared_ptr<void>> updates;
  for (size_t i = 0; i < kMost; ++i) {
    updates.push_back(pool->Take());
    ASSERT_NE(updates.back(), nullptr);
    EXPECT_NE(pool->Find(updates.back().get())->id, id);
  }
}

TEST(SharedPool, OtherMemoryIsNotTheirs) {
  const auto pool = SharedPool::Make(kBytes, kMost);
  const auto update = pool->Take();
  std::vector<std::byte> other(kBytes);
  EXPECT_FALSE(pool->Find(other.data()).has_value());
  EXPECT_TRUE(pool->Detach(other.data()).ok());
}

}  // namespace
}  // namespace concord
