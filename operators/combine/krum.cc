#include "operators/combine/krum.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "operators/combine/gram.h"
#include "operators/errors.h"

namespace concord {
namespace {

// Of a step, or an operator, over m vectors.
absl::Status ValidateSizes(const KrumOptions& options, int m) {
  // Not m < n_byzantine + 3: the sum may overflow.
  if (options.n_byzantine > m - 3) {
    return InvalidField(
        "INVALID_OPTION", "combiner.krum.n_byzantine",
        absl::StrCat(options.n_byzantine),
        absl::StrCat("at most the number of vectors, ", m, ", minus 3"));
  }
  if (options.n_selected > m) {
    return InvalidField("INVALID_OPTION", "combiner.krum.n_selected",
                        absl::StrCat(options.n_selected),
                        absl::StrCat("at most the number of vectors, ", m));
  }
  return absl::OkStatus();
}

class Krum : public Combiner {
 public:
  explicit Krum(const KrumOptions& options) : options_(options) {}

  std::string name() const override { return kKrumName; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const int m = static_cast<int>(input.gram.rows());
    const absl::Status status = ValidateSizes(options_, m);
    if (!status.ok()) return status;
    std::vector<double> scores(m);
    for (int i = 0; i < m; ++i) scores[i] = Score(input.gram, i);
    std::vector<int> order(m);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return scores[a] < scores[b]; });
    Eigen::VectorXd coefficients = Eigen::VectorXd::Zero(m);
    for (int k = 0; k < options_.n_selected; ++k) {
      coefficients[order[k]] = 1.0 / options_.n_selected;
    }
    return Describe(input.gram, coefficients);
  }

 private:
  double Score(const Eigen::MatrixXd& gram, int i) const {
    std::vector<double> distances;
    for (int j = 0; j < gram.rows(); ++j) {
      if (j == i) continue;
      const double square =
          std::max(0.0, gram(i, i) + gram(j, j) - 2 * gram(i, j));
      distances.push_back(options_.squared ? square : std::sqrt(square));
    }
    // Sorted, so that the sum does not depend on the order of the vectors.
    std::sort(distances.begin(), distances.end());
    const auto nearest = distances.size() - 1 - options_.n_byzantine;
    return std::accumulate(distances.begin(), distances.begin() + nearest, 0.0);
  }

  const KrumOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeKrum(const KrumOptions& options,
                                                   int num_vectors) {
  if (options.n_byzantine < 0) {
    return InvalidField("INVALID_OPTION", "combiner.krum.n_byzantine",
                        absl::StrCat(options.n_byzantine), "at least 0");
  }
  if (options.n_selected < 1) {
    return InvalidField("INVALID_OPTION", "combiner.krum.n_selected",
                        absl::StrCat(options.n_selected), "at least 1");
  }
  if (num_vectors > 0) {
    const absl::Status status = ValidateSizes(options, num_vectors);
    if (!status.ok()) return status;
  }
  return std::make_unique<Krum>(options);
}

}  // namespace concord
