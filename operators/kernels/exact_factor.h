// Coefficients whose products with fp32 numbers are exact.
#ifndef CONCORD_OPERATORS_KERNELS_EXACT_FACTOR_H_
#define CONCORD_OPERATORS_KERNELS_EXACT_FACTOR_H_

#include <cmath>
#include <cstdint>

#include "absl/base/casts.h"

namespace concord {

// `coefficient` to 29 significant bits: its products with fp32 numbers have at
// most 53, so that fp64 holds them exactly, and instruction sets with and
// without a fused multiply-add give the same sums. Off by 2^-29 at most, 1/32
// of what the rows lost when they were stored.
inline double ExactFactor(double coefficient) {
  // Below, products would leave fp64's range at its lower end.
  if (std::abs(coefficient) < 1e-200) return 0;
  constexpr int kDropped = 53 - 29;
  uint64_t bits = absl::bit_cast<uint64_t>(coefficient);
  bits += uint64_t{1} << (kDropped - 1);  // To nearest; carries as it should.
  bits &= ~uint64_t{0} << kDropped;
  const double rounded = absl::bit_cast<double>(bits);
  return std::isfinite(rounded) ? rounded : coefficient;
}

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_EXACT_FACTOR_H_
