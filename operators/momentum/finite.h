// Whether a vector that has arrived can be worked with.
#ifndef CONCORD_OPERATORS_MOMENTUM_FINITE_H_
#define CONCORD_OPERATORS_MOMENTUM_FINITE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "operators/dtype.h"
#include "operators/kernels/kernels.h"

namespace concord {

// A loss's vector of `num_parameters` elements on the kernels' device.
struct VectorOfLoss {
  int index = 0;
  Dtype dtype = Dtype::kFloat32;
  size_t num_parameters = 0;
  const void* data = nullptr;
};

// `squares`: each block's sum of squares (IngestPass). INVALID_ARGUMENT:
// NON_FINITE names the first element that is NaN or Inf, OUT_OF_SCALE a vector
// whose squares cannot be summed.
absl::Status CheckFinite(const VectorOfLoss& vector,
                         absl::Span<const double> squares, Kernels* kernels);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_FINITE_H_
