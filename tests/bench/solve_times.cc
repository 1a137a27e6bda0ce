#include "tests/bench/solve_times.h"

#include <chrono>
#include <memory>
#include <random>
#include <utility>
#include <variant>

#include "operators/combine/combiner.h"
#include "tests/bench/measurement.h"

namespace concord::bench {
namespace {

constexpr double kClosedForm = 30;
constexpr double kProgram = 500;
constexpr double kEquations = 3000;

// Microseconds that a method is to stay below.
struct Limit {
  template <class Options>
  double operator()(const Options&) const {
    return kClosedForm;
  }
  double operator()(const MGDAOptions&) const { return kProgram; }
  double operator()(const UPGradOptions&) const { return kProgram; }
  double operator()(const DualProjOptions&) const { return kProgram; }
  double operator()(const CAGradOptions&) const { return kProgram; }
  double operator()(const FairGradOptions&) const { return kProgram; }
  double operator()(const NashMTLOptions&) const { return kEquations; }
};

template <size_t... i>
std::vector<CombinerOptions> Defaults(std::index_sequence<i...>) {
  return {CombinerOptions(std::in_place_index<i>)...};
}

std::vector<Eigen::MatrixXd> GramMatrices(int num_vectors, int count) {
  std::mt19937 engine(1);
  std::normal_distribution<double> normal;
  std::vector<Eigen::MatrixXd> matrices;
  for (int i = 0; i < count; ++i) {
    Eigen::MatrixXd vectors = Eigen::MatrixXd::NullaryExpr(
        num_vectors, 10 * num_vectors, [&] { return normal(engine); });
    if (i % 2 == 1 && num_vectors > 1) {
      vectors.row(1) = -vectors.row(0) + 1e-2 * vectors.row(1);
    }
    matrices.push_back(vectors * vectors.transpose());
  }
  return matrices;
}

}  // namespace

absl::StatusOr<std::vector<SolveTime>> MeasureSolves(int num_vectors,
                                                     int matrices) {
  const std::vector<Eigen::MatrixXd> grams =
      GramMatrices(num_vectors, matrices);
  std::vector<SolveTime> times;
  for (CombinerOptions& options : Defaults(
           std::make_index_sequence<std::variant_size_v<CombinerOptions>>())) {
    if (auto* constant = std::get_if<ConstantOptions>(&options)) {
      constant->weights.assign(num_vectors, 1.0);
    }
    absl::StatusOr<std::unique_ptr<Combiner>> combiner =
        MakeCombiner(options, num_vectors);
    if (!combiner.ok()) return combiner.status();
    if ((*combiner)->works_on_columns()) continue;
    std::vector<double> taken;
    std::vector<double> state;
    for (const Eigen::MatrixXd& gram : grams) {
      CombineInput input;
      input.gram = gram;
      input.state = state;
      const auto begun = std::chrono::steady_clock::now();
      absl::StatusOr<Combination> found = (*combiner)->Solve(input);
      const std::chrono::duration<double, std::micro> elapsed =
          std::chrono::steady_clock::now() - begun;
      if (!found.ok()) return found.status();
      state = std::move(found->state);
      taken.push_back(elapsed.count());
    }
    times.push_back(
        {(*combiner)->name(), Median(taken), std::visit(Limit(), options)});
  }
  return times;
}

}  // namespace concord::bench
