// Random numbers that are functions of a key and a counter, not of a sequence:
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy
// as 1, 2, 3", SC 2011). The same seed, step and stream give the same numbers
// whatever was drawn before, so a step that is repeated repeats its draw.
#ifndef CONCORD_OPERATORS_COUNTER_RANDOM_H_
#define CONCORD_OPERATORS_COUNTER_RANDOM_H_

#include <array>
#include <cstdint>
#include <vector>

namespace concord {

// One block of Philox4x32-10, as published. Constant expressions, as is what
// columns need: GPUs compute them too.
constexpr std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
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

// A position in the numbers of `seed`: the step of a session and, within it,
// the stream (a row, a pair).
struct RandomKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint32_t stream = 0;
};

// The draw-th block at `key`.
constexpr std::array<uint32_t, 4> BlockAt(const RandomKey& key, uint32_t draw) {
  return Philox(
      {static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32),
       key.stream, draw},
      {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

// The draw-th uniform number in (0, 1) at `key`: 52 bits, never 0 or 1.
double UniformAt(const RandomKey& key, uint32_t draw);

// The draw-th standard normal number at `key`, by Box and Muller.
double NormalAt(const RandomKey& key, uint32_t draw);

// A uniform number in (0, 1) for one column of a matrix, 32 bits: four columns
// share a block, and streams from 2^31 on are theirs.
constexpr std::array<uint32_t, 4> ColumnBlock(uint64_t seed, uint64_t step,
                                              uint64_t column) {
  const uint64_t block = column / 4;
  const auto stream = static_cast<uint32_t>(block >> 32) | 0x80000000;
  return BlockAt({seed, step, stream}, static_cast<uint32_t>(block));
}
constexpr double ToUniform(uint32_t word) { return (word + 0.5) * 0x1p-32; }
constexpr double UniformOfColumn(uint64_t seed, uint64_t step,
                                 uint64_t column) {
  return ToUniform(ColumnBlock(seed, step, column)[column % 4]);
}

// `items` in a random order, each order equally likely (Fisher and Yates).
std::vector<int> ShuffledAt(const RandomKey& key, std::vector<int> items);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COUNTER_RANDOM_H_
