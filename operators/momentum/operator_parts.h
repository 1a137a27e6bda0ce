// What a momentum operator is made of, checked and ready: see
// MomentumOperator::Create.
#ifndef CONCORD_OPERATORS_MOMENTUM_OPERATOR_PARTS_H_
#define CONCORD_OPERATORS_MOMENTUM_OPERATOR_PARTS_H_

#include <memory>

#include "operators/combine/combiner.h"
#include "operators/kernels/kernels.h"
#include "operators/losses/loss_recorder.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

struct OperatorParts {
  std::shared_ptr<Kernels> kernels;
  std::unique_ptr<Combiner> combiner;
  std::unique_ptr<LossRecorder> recorder;  // Null: none.
  OperatorStorage storage;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_OPERATOR_PARTS_H_
