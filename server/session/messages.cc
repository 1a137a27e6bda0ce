#include "server/session/messages.h"

namespace concord {

void FillMatrix(const Eigen::MatrixXd& matrix, v1::Matrix* message) {
  message->set_rows(static_cast<uint32_t>(matrix.rows()));
  message->set_columns(static_cast<uint32_t>(matrix.cols()));
  message->mutable_values()->Reserve(static_cast<int>(matrix.size()));
  for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
    for (Eigen::Index j = 0; j < matrix.cols(); ++j) {
      message->add_values(matrix(i, j));
    }
  }
}

void FillSolution(const Combination& combination, v1::Solution* message) {
  message->mutable_coefficients()->Add(combination.coefficients.begin(),
                                       combination.coefficients.end());
  message->set_conflict_free(combination.conflict_free);
  message->set_pareto_stationary(combination.pareto_stationary);
  message->set_rank(static_cast<uint32_t>(combination.rank));
  message->set_length(combination.length);
}

void FillDuration(absl::Duration duration,
                  google::protobuf::Duration* message) {
  absl::Duration rest;
  message->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::Duration ToDuration(const google::protobuf::Duration& message) {
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

}  // namespace concord
