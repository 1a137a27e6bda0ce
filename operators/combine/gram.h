// What a Gram matrix K = V V' of the rows of V tells about them, and about
// their combination sum_i c_i v_i. Free functions without state.
#ifndef CONCORD_OPERATORS_COMBINE_GRAM_H_
#define CONCORD_OPERATORS_COMBINE_GRAM_H_

#include <vector>

#include "Eigen/Core"
#include "absl/status/status.h"
#include "operators/combine/combination.h"

namespace concord {

// Of the largest eigenvalue: those below count as zero. Independent of the
// number of parameters and of their type.
inline constexpr double kRankCutoff = 1e-12;

// A combination shorter than this part of sum_i |c_i| |v_i| is zero: the
// vectors oppose each other. From K it is known to about 1e-8.
inline constexpr double kStationaryCutoff = 1e-6;

// Cosine matrix of a Gram matrix; rows and columns of zero vectors are 0.
Eigen::MatrixXd Cosines(const Eigen::MatrixXd& gram);

// INVALID_ARGUMENT (INVALID_MATRIX) unless `gram` is square, finite, symmetric
// to 1e-9 of its largest entry, with a diagonal >= 0. For matrices from
// outside.
absl::Status ValidateGram(const Eigen::MatrixXd& gram);

// The rows whose vector is not zero, ascending.
std::vector<Eigen::Index> NonZeroRows(const Eigen::MatrixXd& gram);

// `part`, whose entries belong to `rows`, among m entries that are else 0.
Eigen::VectorXd Spread(const Eigen::VectorXd& part,
                       const std::vector<Eigen::Index>& rows, Eigen::Index m);

// Rank of the cosine matrix, by kRankCutoff.
int RankOf(const Eigen::MatrixXd& gram);

// The result of a method that has found its coefficients c. Length and rank
// come from K. conflict_free: (K c)_i > 0 for every non-zero vector, beyond
// the rounding of the products (1e-13 of |v_i| sum_j |c_j| |v_j|); a direction
// at right angles to a vector is not conflict-free. pareto_stationary: all c_i
// >= 0 and the combination is zero by kStationaryCutoff, a certificate that
// no direction improves every loss; c is left as it is.
Combination Describe(const Eigen::MatrixXd& gram,
                     const Eigen::VectorXd& coefficients);

// The same for methods whose direction has no meaning where it vanishes: a
// combination that is zero by kStationaryCutoff, whatever the signs of c, is
// returned as exactly zero, with pareto_stationary.
Combination DescribeOrVanish(const Eigen::MatrixXd& gram,
                             const Eigen::VectorXd& coefficients);

// The zero direction; `stationary` is what pareto_stationary says.
Combination ZeroDirection(const Eigen::MatrixXd& gram, bool stationary);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_GRAM_H_
