#include "operators/combine/dual_cone.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {

absl::Status ValidateRegularisation(double reg_eps, absl::string_view field) {
  if (std::isfinite(reg_eps) && reg_eps >= 0) return absl::OkStatus();
  return InvalidField("INVALID_OPTION", field, absl::StrCat(reg_eps),
                      "a finite number >= 0");
}

Eigen::MatrixXd Regularised(const Eigen::MatrixXd& gram, double reg_eps) {
  Eigen::MatrixXd regularised = gram;
  if (reg_eps > 0) regularised.diagonal().array() += reg_eps * gram.trace();
  return regularised;
}

}  // namespace concord
