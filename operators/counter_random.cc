#include "operators/counter_random.h"

#include <cmath>
#include <utility>

namespace concord {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// 52 bits of two words, in the middle of their interval.
double ToUniform(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 12;
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

}  // namespace

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
