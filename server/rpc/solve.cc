#include "server/rpc/solve.h"

#include <cmath>
#include <memory>
#include <vector>

#include "Eigen/Core"
#include "absl/strings/str_cat.h"
#include "operators/combine/combiner.h"
#include "operators/errors.h"
#include "server/session/messages.h"
#include "server/session/options.h"

namespace concord {
namespace {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

absl::Status CheckShape(const v1::Matrix& gram, const Limits& limits) {
  if (gram.rows() == 0 || gram.rows() != gram.columns()) {
    return InvalidField("INVALID_MATRIX", "gram",
                        absl::StrCat(gram.rows(), " x ", gram.columns()),
                        "a square matrix with at least one row");
  }
  if (gram.rows() > limits.max_vectors) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     {"LIMIT_EXCEEDED",
                      "gram.rows",
                      absl::StrCat(gram.rows()),
                      absl::StrCat("at most ", limits.max_vectors),
                      {{"limit", "max_vectors"}}});
  }
  const uint64_t numbers = uint64_t{gram.rows()} * gram.columns();
  if (static_cast<uint64_t>(gram.values_size()) != numbers) {
    return InvalidField("INVALID_MATRIX", "gram.values",
                        absl::StrCat(gram.values_size(), " numbers"),
                        absl::StrCat(numbers));
  }
  return absl::OkStatus();
}

absl::Status CheckLosses(const v1::SolveRequest& request) {
  if (request.losses_size() != 0 &&
      static_cast<uint32_t>(request.losses_size()) != request.gram().rows()) {
    return InvalidField("INVALID_OPTION", "losses",
                        absl::StrCat(request.losses_size(), " numbers"),
                        absl::StrCat("none or ", request.gram().rows()));
  }
  for (int i = 0; i < request.losses_size(); ++i) {
    if (!std::isfinite(request.losses(i))) {
      return InvalidField("NON_FINITE", absl::StrCat("losses[", i, "]"),
                          absl::StrCat(request.losses(i)), "a finite number");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::SolveResponse> Solve(const v1::SolveRequest& request,
                                        const Limits& limits) {
  absl::Status status = CheckShape(request.gram(), limits);
  if (status.ok()) status = CheckLosses(request);
  if (!status.ok()) return status;
  const int size = static_cast<int>(request.gram().rows());
  const Eigen::MatrixXd gram =
      Eigen::Map<const RowMajor>(request.gram().values().data(), size, size);
  status = ValidateGram(gram);
  if (!status.ok()) return status;
  absl::StatusOr<CombinerOptions> options =
      ToCombinerOptions(request.combiner(), size, "");
  if (!options.ok()) return options.status();
  absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(*options, size);
  if (!combiner.ok()) return combiner.status();
  if ((*combiner)->works_on_columns()) {
    return InvalidField("INVALID_OPTION", "combiner", (*combiner)->name(),
                        "a method that a Gram matrix is enough for");
  }
  CombineInput input;
  input.gram = gram;
  input.state =
      absl::MakeConstSpan(request.state().data(), request.state_size());
  input.losses =
      absl::MakeConstSpan(request.losses().data(), request.losses_size());
  absl::StatusOr<Combination> combination = (*combiner)->Solve(input);
  if (!combination.ok()) return combination.status();

  v1::SolveResponse response;
  FillSolution(*combination, response.mutable_solution());
  FillMatrix(Cosines(gram), response.mutable_cosines());
  response.mutable_state()->Add(combination->state.begin(),
                                combination->state.end());
  return response;
}

}  // namespace concord
