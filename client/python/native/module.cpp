// concord._native: the engine (operators/) and the client (client/cpp) for the
// Python package, which is its only user.
#include "client/python/native/bind.h"

NB_MODULE(_native, module) {
  concord::python::BindOptions(module);
  concord::python::BindResultBuffer(module);
  concord::python::BindEngine(module);
}
