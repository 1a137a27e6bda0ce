#include "operators/combine/gram.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/combine/symmetric_eigen.h"
#include "operators/errors.h"

namespace concord {
namespace {

// Of |v_i| sum_j |c_j| |v_j|: what rounding may leave of (K c)_i.
constexpr double kProductNoise = 1e-13;

// sum_i |c_i| |v_i|: the length that the combination could have.
double LengthOfTerms(const Eigen::MatrixXd& gram,
                     const Eigen::VectorXd& coefficients) {
  return coefficients.cwiseAbs().dot(gram.diagonal().cwiseSqrt());
}

}  // namespace

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
      const bool finite = std::isfinite(gram(i, j));
      if (finite && std::abs(gram(i, j) - gram(j, i)) <= 1e-9 * largest) {
        continue;
      }
      return InvalidField("INVALID_MATRIX",
                          absl::StrCat("gram[", i, ",", j, "]"),
                          absl::StrCat(gram(i, j)),
                          finite ? absl::StrCat("a symmetric matrix; gram[", j,
                                                ",", i, "] = ", gram(j, i))
                                 : "a finite number");
    }
    if (gram(i, i) < 0) {
      return InvalidField("INVALID_MATRIX",
                          absl::StrCat("gram[", i, ",", i, "]"),
                          absl::StrCat(gram(i, i)), "a diagonal >= 0");
    }
  }
  return absl::OkStatus();
}

std::vector<Eigen::Index> NonZeroRows(const Eigen::MatrixXd& gram) {
  std::vector<Eigen::Index> rows;
  for (Eigen::Index i = 0; i < gram.rows(); ++i) {
    if (gram(i, i) > 0) rows.push_back(i);
  }
  return rows;
}

Eigen::VectorXd Spread(const Eigen::VectorXd& part,
                       const std::vector<Eigen::Index>& rows, Eigen::Index m) {
  Eigen::VectorXd whole = Eigen::VectorXd::Zero(m);
  whole(rows) = part;
  return whole;
}

int RankOf(const Eigen::MatrixXd& gram) {
  const std::vector<Eigen::Index> rows = NonZeroRows(gram);
  if (rows.empty()) return 0;
  const Eigen::VectorXd values =
      DecomposeSymmetric(Cosines(gram(rows, rows))).values;
  return static_cast<int>(
      (values.array() > kRankCutoff * values.maxCoeff()).count());
}

Combination Describe(const Eigen::MatrixXd& gram,
                     const Eigen::VectorXd& coefficients) {
  Combination result;
  result.coefficients.assign(coefficients.begin(), coefficients.end());
  result.rank = RankOf(gram);
  const Eigen::VectorXd products = gram * coefficients;
  result.length = std::sqrt(std::max(0.0, coefficients.dot(products)));
  const double terms = LengthOfTerms(gram, coefficients);
  bool conflict_free = result.rank > 0;
  for (Eigen::Index i = 0; i < gram.rows(); ++i) {
    const double norm = std::sqrt(gram(i, i));
    if (norm > 0) conflict_free &= products[i] > kProductNoise * norm * terms;
  }
  result.conflict_free = conflict_free;
  result.pareto_stationary = terms > 0 && coefficients.minCoeff() >= 0 &&
                             result.length <= kStationaryCutoff * terms;
  return result;
}

Combination DescribeOrVanish(const Eigen::MatrixXd& gram,
                             const Eigen::VectorXd& coefficients) {
  Combination result = Describe(gram, coefficients);
  const double terms = LengthOfTerms(gram, coefficients);
  if (terms > 0 && result.length <= kStationaryCutoff * terms) {
    return ZeroDirection(gram, /*stationary=*/true);
  }
  return result;
}

Combination ZeroDirection(const Eigen::MatrixXd& gram, bool stationary) {
  Combination result;
  result.coefficients.assign(gram.rows(), 0.0);
  result.rank = RankOf(gram);
  result.pareto_stationary = stationary;
  return result;
}

}  // namespace concord
