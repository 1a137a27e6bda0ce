// Calls of the client that wait: without the GIL, and with Ctrl-C heard.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_CALL_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_CALL_H_

#include <nanobind/nanobind.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/options.h"
#include "client/python/native/errors.h"

namespace concord::python {

// Ctrl-C ends a waiting call: the signal's exception is left pending.
inline bool SignalRaised() {
  const nanobind::gil_scoped_acquire acquire;
  return PyErr_Occurred() != nullptr || PyErr_CheckSignals() != 0;
}

// Options of a call that a signal ends.
inline CallOptions MakeCall(double timeout_seconds) {
  CallOptions call;
  call.timeout = absl::Seconds(timeout_seconds);
  call.is_cancelled = &SignalRaised;
  return call;
}

// What such a call gave, the signal's exception first.
template <typename T>
T ResultOrRaise(absl::StatusOr<T> result) {
  if (PyErr_Occurred() != nullptr) throw nanobind::python_error();
  return ValueOrRaise(std::move(result));
}

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_CALL_H_
