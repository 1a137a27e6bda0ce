// The parts of `concord._native`, one function each.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_BIND_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_BIND_H_

#include <nanobind/nanobind.h>

namespace concord::python {

// Options: what an operator is, embedded or on a server.
void BindOptions(nanobind::module_& module);
// ResultBuffer: memory with Python's buffer protocol.
void BindResultBuffer(nanobind::module_& module);
// Kernels, Engine, solve, LatestLossRecorder: the engine in this process.
void BindEngine(nanobind::module_& module);
// Other layouts for engines and sessions.
void BindLayout(nanobind::module_& module);
// Session: a worker's view of a session on a server.
void BindSession(nanobind::module_& module);
// States and checkpoints of sessions on a server.
void BindState(nanobind::module_& module);
// StepWatch: what a session's steps find, for who is no worker of it.
void BindWatch(nanobind::module_& module);

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_BIND_H_
