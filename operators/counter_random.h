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

// One block of Philox4x32-10, as published.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key);

// A position in the numbers of `seed`: the step of a session and, within it,
// the stream (a row, a pair).
struct RandomKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint32_t stream = 0;
};

// The draw-th uniform number in (0, 1) at `key`: 52 bits, never 0 or 1.
double UniformAt(const RandomKey& key, uint32_t draw);

// The draw-th standard normal number at `key`, by Box and Muller.
double NormalAt(const RandomKey& key, uint32_t draw);

// A uniform number in (0, 1) for one column of a matrix, 32 bits: four columns
// share a block, and streams from 2^31 on are theirs.
std::array<uint32_t, 4> ColumnBlock(uint64_t seed, uint64_t step,
                                    uint64_t column);
inline double ToUniform(uint32_t word) { return (word + 0.5) * 0x1p-32; }
inline double UniformOfColumn(uint64_t seed, uint64_t step, uint64_t column) {
  return ToUniform(ColumnBlock(seed, step, column)[column % 4]);
}

// `items` in a random order, each order equally likely (Fisher and Yates).
std::vector<int> ShuffledAt(const RandomKey& key, std::vector<int> items);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COUNTER_RANDOM_H_
