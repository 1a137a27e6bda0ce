// Element types that a session's vectors can have.
#ifndef CONCORD_OPERATORS_DTYPE_H_
#define CONCORD_OPERATORS_DTYPE_H_

#include <cstddef>

namespace concord {

enum class Dtype { kFloat32, kFloat64 };

constexpr size_t SizeOf(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? 4 : 8;
}

constexpr const char* Name(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? "float32" : "float64";
}

}  // namespace concord

#endif  // CONCORD_OPERATORS_DTYPE_H_
