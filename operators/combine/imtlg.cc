#include "operators/combine/imtlg.h"

#include <cmath>

#include "operators/combine/gram.h"
#include "operators/combine/symmetric_eigen.h"

namespace concord {
namespace {

constexpr double kNoPlane = 1e-12;      // Of sum |v_i|.
constexpr double kInconsistent = 1e-6;  // Of |1|.

// B^+' B^+ x for a matrix B of full column rank: with K = B B' it is K^+ x. By
// Gram and Schmidt, twice, since B' B would square the condition.
Eigen::VectorXd PseudoInverseOfSquare(const Eigen::MatrixXd& b,
                                      const Eigen::VectorXd& x) {
  const Eigen::Index rank = b.cols();
  Eigen::MatrixXd q = b;
  Eigen::MatrixXd r = Eigen::MatrixXd::Zero(rank, rank);
  for (Eigen::Index k = 0; k < rank; ++k) {
    for (int pass = 0; pass < 2; ++pass) {
      for (Eigen::Index l = 0; l < k; ++l) {
        const double part = q.col(l).dot(q.col(k));
        r(l, k) += part;
        q.col(k) -= part * q.col(l);
      }
    }
    r(k, k) = q.col(k).norm();
    q.col(k) /= r(k, k);
  }
  // B^+ = R^-1 Q'.
  Eigen::VectorXd y = q.transpose() * x;
  for (Eigen::Index k = rank - 1; k >= 0; --k) {
    const Eigen::Index after = rank - k - 1;
    y[k] = (y[k] - r.row(k).tail(after).dot(y.tail(after))) / r(k, k);
  }
  for (Eigen::Index k = 0; k < rank; ++k) {
    y[k] = (y[k] - r.col(k).head(k).dot(y.head(k))) / r(k, k);
  }
  return q * y;
}

class IMTLG : public Combiner {
 public:
  std::string name() const override { return kIMTLGName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const std::vector<Eigen::Index> rows = NonZeroRows(input.gram);
    const auto count = static_cast<Eigen::Index>(rows.size());
    if (count == 0) return ZeroDirection(input.gram, /*stationary=*/false);
    const Eigen::MatrixXd gram = input.gram(rows, rows);
    const Eigen::VectorXd norms = gram.diagonal().cwiseSqrt();
    if (count == 2) {
      return Finish(input.gram, rows,
                    Eigen::Vector2d(norms[1], norms[0]) / norms.sum());
    }

    const SymmetricEigen eigen = DecomposeSymmetric(Cosines(gram));
    const double cutoff = kRankCutoff * eigen.values.maxCoeff();
    const Eigen::Index rank = (eigen.values.array() > cutoff).count();
    const Eigen::MatrixXd range = eigen.vectors.rightCols(rank);
    const Eigen::VectorXd values = eigen.values.tail(rank);
    const Eigen::VectorXd parts = range.colwise().sum();  // V_r' 1
    const double one = std::sqrt(static_cast<double>(count));
    if (parts.norm() <= kStationaryCutoff * one) {
      return ZeroDirection(input.gram, /*stationary=*/true);
    }
    Eigen::VectorXd v;
    if (rank == count) {
      // K^-1 n = N^-1 C^-1 1: no scale of a vector enters the inverse.
      v = (range * parts.cwiseQuotient(values)).cwiseQuotient(norms);
    } else {
      v = PseudoInverseOfSquare(
          norms.asDiagonal() * range * values.cwiseSqrt().asDiagonal(), norms);
    }
    if (std::abs(v.sum()) <= kNoPlane * v.cwiseAbs().sum()) {
      return ZeroDirection(input.gram, /*stationary=*/false);
    }
    Combination result = Finish(input.gram, rows, v / v.sum());
    const Eigen::VectorXd missing =
        (range * parts).array() - 1;  // The part of 1 outside of the range.
    if (missing.norm() > kInconsistent * one) result.conflict_free = false;
    return result;
  }

 private:
  static Combination Finish(const Eigen::MatrixXd& gram,
                            const std::vector<Eigen::Index>& rows,
                            const Eigen::VectorXd& part) {
    return DescribeOrVanish(gram, Spread(part, rows, gram.rows()));
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeIMTLG(
    const IMTLGOptions& /*options*/, int /*num_vectors*/) {
  return std::make_unique<IMTLG>();
}

}  // namespace concord
