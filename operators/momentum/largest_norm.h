// The largest vectors whose squares a second momentum can store.
#ifndef CONCORD_OPERATORS_MOMENTUM_LARGEST_NORM_H_
#define CONCORD_OPERATORS_MOMENTUM_LARGEST_NORM_H_

#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "operators/dtype.h"
#include "operators/errors.h"

namespace concord {

// INVALID_ARGUMENT (OUT_OF_SCALE) naming `field`, and `what` has that norm,
// unless squares up to norm^2 fit into the type with room to spare: an infinite
// second momentum would stay for good.
inline absl::Status CheckNorm(absl::string_view field, absl::string_view what,
                              double norm, Dtype dtype) {
  const double largest = dtype == Dtype::kFloat32
                             ? double{std::numeric_limits<float>::max()}
                             : std::numeric_limits<double>::max();
  const double accepted = std::sqrt(largest) / 2;
  // Also false for NaN.
  if (norm <= accepted) return absl::OkStatus();
  return InvalidField(
      "OUT_OF_SCALE", field, absl::StrCat(what, norm),
      absl::StrCat("norms up to ", accepted, " in ", Name(dtype)));
}

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_LARGEST_NORM_H_
