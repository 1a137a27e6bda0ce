// From the engine's options to the messages of the contract.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_PROTO_OPTIONS_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_PROTO_OPTIONS_H_

#include "concord/v1/session.pb.h"
#include "operators/momentum/momentum_operator.h"

namespace concord::python {

// What a session's creator gives of it: sizes, type and operator.
v1::Session ToProto(const OperatorOptions& options);

v1::DataType ToProto(Dtype dtype);

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_PROTO_OPTIONS_H_
