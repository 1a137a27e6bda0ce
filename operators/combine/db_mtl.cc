#include "operators/combine/db_mtl.h"

#include <vector>

#include "operators/combine/gram.h"

namespace concord {
namespace {

class DBMTL : public Combiner {
 public:
  std::string name() const override { return kDBMTLName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const std::vector<Eigen::Index> rows = NonZeroRows(input.gram);
    if (rows.empty()) return ZeroDirection(input.gram, /*stationary=*/false);
    const Eigen::VectorXd norms = input.gram(rows, rows).diagonal().cwiseSqrt();
    return DescribeOrVanish(
        input.gram, Spread(norms.maxCoeff() * norms.cwiseInverse(), rows,
                           input.gram.rows()));
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeDBMTL(
    const DBMTLOptions& /*options*/, int /*num_vectors*/) {
  return std::make_unique<DBMTL>();
}

}  // namespace concord
