// From absl::Status to the exceptions of `concord.errors`.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_ERRORS_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_ERRORS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace concord::python {

// Raises the Python exception for `status`, which is not OK:
// concord.errors.from_status(code, message, reason, field, value, accepted,
// metadata). The GIL must be held.
[[noreturn]] void Raise(const absl::Status& status);

inline void RaiseIfError(const absl::Status& status) {
  if (!status.ok()) Raise(status);
}

template <typename T>
T ValueOrRaise(absl::StatusOr<T> value) {
  if (!value.ok()) Raise(value.status());
  return *std::move(value);
}

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_ERRORS_H_
