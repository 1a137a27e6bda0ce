#include "operators/combine/sum.h"

#include "operators/combine/gram.h"

namespace concord {
namespace {

class Sum : public Combiner {
 public:
  std::string name() const override { return kSumName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::Index m = input.gram.rows();
    return Describe(input.gram, Eigen::VectorXd::Ones(m));
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeSum(const SumOptions& /*options*/,
                                                  int /*num_vectors*/) {
  return std::make_unique<Sum>();
}

}  // namespace concord
