// Seeded random vectors for the operators' tests.
#ifndef CONCORD_TESTS_OPERATORS_RANDOM_VECTORS_H_
#define CONCORD_TESTS_OPERATORS_RANDOM_VECTORS_H_

#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "absl/types/span.h"

namespace concord {

template <class T>
std::vector<T> RandomVector(size_t n, std::mt19937* engine, T scale = 1) {
  std::normal_distribution<T> normal;
  std::vector<T> vector(n);
  for (T& value : vector) value = scale * normal(*engine);
  return vector;
}

// The same for the same seed.
template <class T>
std::vector<T> SeededVector(size_t n, unsigned seed, double scale = 1) {
  std::mt19937 engine(seed);
  return RandomVector<T>(n, &engine, static_cast<T>(scale));
}

template <class T>
absl::Span<const std::byte> Bytes(const std::vector<T>& vector) {
  return {reinterpret_cast<const std::byte*>(vector.data()),
          vector.size() * sizeof(T)};
}

// Equal bits, also of zeros and NaNs.
template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_RANDOM_VECTORS_H_
