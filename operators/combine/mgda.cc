#include "operators/combine/mgda.h"

#include "operators/combine/gram.h"
#include "operators/combine/quadratic_program.h"

namespace concord {
namespace {

class MGDA : public Combiner {
 public:
  std::string name() const override { return kMGDAName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    if (input.gram.diagonal().minCoeff() <= 0) {
      return ZeroDirection(input.gram, /*stationary=*/true);
    }
    return DescribeOrVanish(input.gram, MinimizeOverSimplex(input.gram));
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeMGDA(
    const MGDAOptions& /*options*/, int /*num_vectors*/) {
  return std::make_unique<MGDA>();
}

}  // namespace concord
