#include "client/python/native/proto_options.h"

#include "proto/options/operator_options.h"

namespace concord::python {

v1::DataType ToProto(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? v1::FLOAT32 : v1::FLOAT64;
}

v1::Session ToProto(const OperatorOptions& options) {
  v1::Session session;
  session.set_num_vectors(options.num_vectors);
  session.set_num_parameters(options.num_parameters);
  session.set_data_type(ToProto(options.dtype));
  session.set_max_vectors_per_step(options.max_vectors_per_step);
  *session.mutable_options() = ToMessage(options);
  return session;
}

}  // namespace concord::python
