#include "operators/combine/combiner.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/combine/config.h"
#include "operators/errors.h"

namespace concord {

absl::StatusOr<std::unique_ptr<Combiner>> MakeCombiner(
    const CombinerOptions& options, int num_vectors) {
  // One line per method.
  return MakeConFIG(std::get<ConFIGOptions>(options), num_vectors);
}

std::vector<std::string> CombinerNames() { return {kConFIGName}; }

Eigen::MatrixXd Cosines(const Eigen::MatrixXd& gram) {
  const Eigen::Index m = gram.rows();
  Eigen::VectorXd inverse(m);
  for (Eigen::Index i = 0; i < m; ++i) {
    inverse[i] = gram(i, i) > 0 ? 1 / std::sqrt(gram(i, i)) : 0;
  }
  Eigen::MatrixXd cosines(m, m);
  for (Eigen::Index i = 0; i < m; ++i) {
    for (Eigen::Index j = 0; j < i; ++j) {
      // One factor after the other: the product of two inverse norms of badly
      // scaled vectors may leave the range.
      cosines(i, j) = cosines(j, i) = gram(i, j) * inverse[i] * inverse[j];
    }
    cosines(i, i) = inverse[i] > 0 ? 1 : 0;
  }
  return cosines;
}

absl::Status ValidateGram(const Eigen::MatrixXd& gram) {
  if (gram.rows() < 1 || gram.rows() != gram.cols()) {
    return InvalidField("INVALID_MATRIX", "gram",
                        absl::StrCat(gram.rows(), " x ", gram.cols()),
                        "a square matrix of at least one row");
  }
  const double largest = gram.cwiseAbs().maxCoeff();
  for (Eigen::Index i = 0; i < gram.rows(); ++i) {
    for (Eigen::Index j = 0; j < gram.cols(); ++j) {
      const std::string field = absl::StrCat("gram[", i, ",", j, "]");
      if (!std::isfinite(gram(i, j))) {
        return InvalidField("INVALID_MATRIX", field, absl::StrCat(gram(i, j)),
                            "a finite number");
      }
      if (std::abs(gram(i, j) - gram(j, i)) > 1e-9 * largest) {
        return InvalidField("INVALID_MATRIX", field, absl::StrCat(gram(i, j)),
                            absl::StrCat("a symmetric matrix; gram[", j, ",", i,
                                         "] = ", gram(j, i)));
      }
    }
    if (gram(i, i) < 0) {
      return InvalidField("INVALID_MATRIX",
                          absl::StrCat("gram[", i, ",", i, "]"),
                          absl::StrCat(gram(i, i)), "a diagonal >= 0");
    }
  }
  return absl::OkStatus();
}

}  // namespace concord
