#include "operators/counter_random.h"

#include <cmath>
#include <utility>

namespace concord {
namespace {

constexpr double kTwoPi = 6.283185307179586;

std::array<uint32_t, 4> BlockAt(const RandomKey& key, uint32_t draw) {
  return Philox(
      {static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32),
       key.stream, draw},
      {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

// 52 bits of two words, in the middle of their interval.
double ToUniform(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 12;
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

}  // namespace

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53} * counter[0];
    const uint64_t right = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(right >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(right),
               static_cast<uint32_t>(left >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(left)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

std::array<uint32_t, 4> ColumnBlock(uint64_t seed, uint64_t step,
                                    uint64_t column) {
  const uint64_t block = column / 4;
  const auto stream = static_cast<uint32_t>(block >> 32) | 0x80000000;
  return BlockAt({seed, step, stream}, static_cast<uint32_t>(block));
}

double UniformAt(const RandomKey& key, uint32_t draw) {
  const std::array<uint32_t, 4> block = BlockAt(key, draw);
  return ToUniform(block[0], block[1]);
}

double NormalAt(const RandomKey& key, uint32_t draw) {
  const std::array<uint32_t, 4> block = BlockAt(key, draw);
  return std::sqrt(-2 * std::log(ToUniform(block[0], block[1]))) *
         std::cos(kTwoPi * ToUniform(block[2], block[3]));
}

std::vector<int> ShuffledAt(const RandomKey& key, std::vector<int> items) {
  for (size_t left = items.size(); left > 1; --left) {
    const auto chosen =
        static_cast<size_t>(UniformAt(key, static_cast<uint32_t>(left)) * left);
    std::swap(items[left - 1], items[chosen]);
  }
  return items;
}

}  // namespace concord
