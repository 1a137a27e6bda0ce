#include "operators/combine/mean.h"

#include "operators/combine/gram.h"

namespace concord {
namespace {

class Mean : public Combiner {
 public:
  std::string name() const override { return kMeanName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::Index m = input.gram.rows();
    return Describe(input.gram, Eigen::VectorXd::Constant(m, 1.0 / m));
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeMean(
    const MeanOptions& /*options*/, int /*num_vectors*/) {
  return std::make_unique<Mean>();
}

}  // namespace concord
