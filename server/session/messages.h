// The engine's results as messages.
#ifndef CONCORD_SERVER_SESSION_MESSAGES_H_
#define CONCORD_SERVER_SESSION_MESSAGES_H_

#include "Eigen/Core"
#include "absl/time/time.h"
#include "concord/v1/operators.pb.h"
#include "google/protobuf/duration.pb.h"
#include "operators/combine/combiner.h"

namespace concord {

void FillMatrix(const Eigen::MatrixXd& matrix, v1::Matrix* message);
void FillSolution(const Combination& combination, v1::Solution* message);
void FillDuration(absl::Duration duration, google::protobuf::Duration* message);
absl::Duration ToDuration(const google::protobuf::Duration& message);

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_MESSAGES_H_
