// concord._native: the engine (operators/) and the client (client/cpp) for the
// Python package, which is its only user.
#include "client/python/native/bind.h"

NB_MODULE(_native, module) {
  // Objects that live until the interpreter ends are no leak of ours.
  nanobind::set_leak_warnings(false);
  concord::python::BindOptions(module);
  concord::python::BindResultBuffer(module);
  concord::python::BindEngine(module);
  concord::python::BindLayout(module);
  concord::python::BindSession(module);
  concord::python::BindState(module);
  concord::python::BindWatch(module);
}
