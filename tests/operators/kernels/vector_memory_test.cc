#include "operators/kernels/vector_memory.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace concord {
namespace {

// Of this process, in pages.
int64_t AddressSpace() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  file >> pages;
  return pages;
}

TEST(VectorMemory, IsZeroToItsLastByteAndMayBeWritten) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, (size_t{2} << 20) - 1,
                             (size_t{2} << 20) + 1, size_t{40'000'000}}) {
    auto memory = VectorMemory::Map(bytes);
    ASSERT_TRUE(memory.ok()) << memory.status();
    ASSERT_EQ((*memory)->size(), bytes);
    auto* const data = static_cast<unsigned char*>((*memory)->data());
    EXPECT_EQ(data[0], 0);
    EXPECT_EQ(data[bytes - 1], 0);
    data[0] = data[bytes - 1] = 1;
  }
}

TEST(VectorMemory, OfTwoMebibytesBeginsAtAHugePage) {
  // Whatever lies between two of them.
  std::vector<std::unique_ptr<VectorMemory>> all;
  for (size_t i = 0; i < 8; ++i) {
    auto memory = VectorMemory::Map((size_t{2} << 20) + i * 4096 + 1);
    ASSERT_TRUE(memory.ok()) << memory.status();
    all.push_back(*std::move(memory));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(all.back()->data()) % (2 << 20), 0u);
  }
}

TEST(VectorMemory, TakesNoMoreAddressesThanItsPagesAndGivesThemBack) {
  constexpr int64_t kPages = 10'001;
  const int64_t before = AddressSpace();
  {
    auto memory = VectorMemory::Map(kPages * 4096 - 5);
    ASSERT_TRUE(memory.ok()) << memory.status();
    EXPECT_EQ(AddressSpace() - before, kPages);
  }
  EXPECT_EQ(AddressSpace(), before);
}

}  // namespace
}  // namespace concord
