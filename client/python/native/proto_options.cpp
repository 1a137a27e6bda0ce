#include "client/python/native/proto_options.h"

#include <variant>

#include "proto/options/combiner_options.h"

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
  auto* operators = session.mutable_options();
  *operators->mutable_combiner() = ToMessage(options.combiner);
  if (const auto* pseudo =
          std::get_if<PseudoMomentumOptions>(&options.momentum)) {
    auto* message = operators->mutable_momentum()->mutable_pseudo();
    message->set_beta_1(pseudo->beta_1);
    message->set_beta_2(pseudo->beta_2);
  } else {
    operators->mutable_momentum()->mutable_none();
  }
  if (options.loss_recorder.has_value()) {
    operators->mutable_loss_recorder()->mutable_latest();
  }
  return session;
}

}  // namespace concord::python
