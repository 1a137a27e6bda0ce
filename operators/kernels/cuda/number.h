// Numbers that are computed with as the cpu backend's processor does it: every
// operation rounds once, and takes and gives zeros for denormals.
//
// A GPU's own flushing knows no fp64, and decides before rounding what is too
// small; x86 decides after it. Here the rare number at the border is looked at
// again, so that a step has the same bits on both.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_NUMBER_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_NUMBER_H_

#include <cmath>
#include <type_traits>

#include "operators/kernels/cuda/portable.h"

namespace concord::cuda {

template <class T>
struct Smallest;  // Normal number, and a power of two that lifts it well up.
template <>
struct Smallest<float> {
  static constexpr float kNormal = 0x1p-126f, kLift = 0x1p100f;
};
template <>
struct Smallest<double> {
  static constexpr double kNormal = 0x1p-1022, kLift = 0x1p600;
};

template <class T>
CONCORD_PORTABLE T ZeroLike(T value) {
  return std::copysign(T{0}, value);
}

// What is read from memory, and exact results.
template <class T>
CONCORD_PORTABLE T Flushed(T value) {
  return std::fabs(value) < Smallest<T>::kNormal ? ZeroLike(value) : value;
}

// `lifted`: the rounded result kLift times as large.
template <class T>
CONCORD_PORTABLE T FlushedAtBorder(T value, T lifted) {
  return std::fabs(lifted) < Smallest<T>::kNormal * Smallest<T>::kLift
             ? ZeroLike(value)
             : value;
}

template <class T>
struct Number {
  T value;

  CONCORD_PORTABLE Number(T number) : value(number) {}  // NOLINT: a number.

  // Sums that are too small are exact.
  CONCORD_PORTABLE friend Number operator+(Number a, Number b) {
    return Flushed(a.value + b.value);
  }
  CONCORD_PORTABLE friend Number operator-(Number a, Number b) {
    return Flushed(a.value - b.value);
  }
  CONCORD_PORTABLE friend Number operator*(Number a, Number b) {
    const T product = a.value * b.value;
    if (!(std::fabs(product) <= Smallest<T>::kNormal)) return product;
    const T lifted = std::fabs(a.value) < std::fabs(b.value)
                         ? a.value * Smallest<T>::kLift * b.value
                         : b.value * Smallest<T>::kLift * a.value;
    return FlushedAtBorder(product, lifted);
  }
  CONCORD_PORTABLE friend Number operator/(Number a, Number b) {
    const T quotient = a.value / b.value;
    if (!(std::fabs(quotient) <= Smallest<T>::kNormal)) return quotient;
    return FlushedAtBorder(quotient, a.value * Smallest<T>::kLift / b.value);
  }
};

template <class T>
CONCORD_PORTABLE Number<T> Sqrt(Number<T> number) {
  return Number<T>(std::sqrt(number.value));
}

#define CONCORD_ELEMENTWISE_FUNCTION CONCORD_PORTABLE
#include "operators/kernels/elementwise.h"
#undef CONCORD_ELEMENTWISE_FUNCTION

// To the vectors' type, rounded once.
template <class T>
CONCORD_PORTABLE T Rounded(double value) {
  if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    // Below, it is too small when it is rounded to 24 bits.
    constexpr double kBorder = 0x1.ffffffp-127;
    const float rounded = static_cast<float>(value);
    return std::fabs(value) < kBorder ? ZeroLike(rounded) : rounded;
  }
}

// sum + a b. Products of fp32 rows, and of one with an ExactFactor, are exact
// in fp64 and far from its lower end: one rounding either way.
template <class T>
CONCORD_PORTABLE double AddProduct(double sum, double a, double b) {
  if constexpr (std::is_same_v<T, double>) {
    return (Number<double>(sum) + Number<double>(a) * Number<double>(b)).value;
  } else {
#ifdef __CUDA_ARCH__
    return __fma_rn(a, b, sum);
#else
    return sum + a * b;
#endif
  }
}

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_NUMBER_H_
