#include "operators/kernels/cpu_separate.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace concord {
namespace {

template <class V>
V Sqrt(V value) {
  return std::sqrt(value);
}

#define CONCORD_ELEMENTWISE_FUNCTION inline
#include "operators/kernels/elementwise.h"
#undef CONCORD_ELEMENTWISE_FUNCTION

// A stretch's numbers lie in arrays of their own between the loops, so that the
// compiler sees that nothing overlaps.
constexpr size_t kStretch = 512;

template <class T>
void Run(const SeparatePass& pass) {
  const auto* gradient = static_cast<const T*>(pass.gradient);
  const auto* momentum = static_cast<const T*>(pass.momentum);
  const auto* second = static_cast<const T*>(pass.second);
  auto* new_momentum = static_cast<T*>(pass.new_momentum);
  auto* new_second = static_cast<T*>(pass.new_second);
  auto* rescaled = static_cast<T*>(pass.rescaled);
  const double complement_1 = 1 - pass.beta_1;
  const double complement_2 = 1 - pass.beta_2;
  const T second_scale = static_cast<T>(pass.second_scale);
  const T epsilon = static_cast<T>(pass.epsilon);
  T m[kStretch], s[kStretch], r[kStretch];
  for (size_t begin = 0; begin < pass.count; begin += kStretch) {
    const size_t count = std::min(kStretch, pass.count - begin);
    std::copy_n(momentum + begin, count, m);
    std::copy_n(second + begin, count, s);
    if (gradient != nullptr) {
      std::copy_n(gradient + begin, count, r);
      for (size_t e = 0; e < count; ++e) {
        m[e] = static_cast<T>(
            NewMomentum<double>(pass.beta_1, complement_1, m[e], r[e]));
        s[e] =
            static_cast<T>(NewSecondMomentum<double>(complement_2, s[e], r[e]));
      }
      std::copy_n(m, count, new_momentum + begin);
      std::copy_n(s, count, new_second + begin);
    }
    for (size_t e = 0; e < count; ++e) {
      r[e] = Rescaled<T>(static_cast<T>(m[e] * pass.scale), s[e], second_scale,
                         epsilon);
    }
    std::copy_n(r, count, rescaled + begin);
  }
}

}  // namespace

void CpuSeparate(const SeparatePass& pass) {
  pass.dtype == Dtype::kFloat32 ? Run<float>(pass) : Run<double>(pass);
}

}  // namespace concord
