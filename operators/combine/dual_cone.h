// What UPGrad and DualProj share: projections onto the dual cone.
#ifndef CONCORD_OPERATORS_COMBINE_DUAL_CONE_H_
#define CONCORD_OPERATORS_COMBINE_DUAL_CONE_H_

#include "Eigen/Core"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace concord {

// INVALID_ARGUMENT (INVALID_OPTION) naming `field` unless finite and >= 0.
absl::Status ValidateRegularisation(double reg_eps, absl::string_view field);

// K + reg_eps trace(K) I.
Eigen::MatrixXd Regularised(const Eigen::MatrixXd& gram, double reg_eps);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_DUAL_CONE_H_
