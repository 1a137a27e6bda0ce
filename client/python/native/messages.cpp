#include "client/python/native/messages.h"

#include <nanobind/stl/vector.h>

#include <numeric>
#include <set>
#include <vector>

namespace concord::python {

namespace nb = nanobind;

namespace {

nb::list ToRows(const v1::Matrix& matrix) {
  nb::list rows;
  for (uint32_t i = 0; i < matrix.rows(); ++i) {
    nb::list row;
    for (uint32_t j = 0; j < matrix.columns(); ++j) {
      row.append(matrix.values(static_cast<int>(i * matrix.columns() + j)));
    }
    rows.append(row);
  }
  return rows;
}

// Which losses the rows belong to: all, or without momentum those that were
// brought. Where the numbers of both are the same they are the same.
std::vector<uint32_t> RowIndexes(const v1::StepResult& step) {
  std::set<uint32_t> brought;
  for (const v1::Contributor& contributor : step.contributors()) {
    brought.insert(contributor.losses().begin(), contributor.losses().end());
  }
  if (brought.size() == step.gram().rows()) {
    return {brought.begin(), brought.end()};
  }
  std::vector<uint32_t> all(step.gram().rows());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace

double ToSeconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

nb::dict ToDict(const v1::StepResult& step, const v1::StepTrailer& trailer) {
  const v1::Solution& solution = step.solution();
  nb::dict result;
  result["step"] = step.step();
  result["warming_up"] = step.warming_up();
  result["repeated"] = step.repeated();
  result["coefficients"] = ToList(solution.coefficients());
  result["conflict_free"] = solution.conflict_free();
  result["pareto_stationary"] = solution.pareto_stationary();
  result["rank"] = solution.rank();
  result["length"] = solution.length();
  result["gram"] = ToRows(step.gram());
  result["cosines"] = ToRows(step.cosines());
  result["losses"] = ToList(step.losses());
  result["stale_losses"] = ToList(step.stale_losses());
  nb::dict contributors;
  for (const v1::Contributor& contributor : step.contributors()) {
    contributors[nb::int_(contributor.rank())] = ToList(contributor.losses());
  }
  result["contributors"] = contributors;
  result["missing_ranks"] = ToList(step.missing_ranks());
  result["dropped"] = step.dropped();
  nb::list skipped;
  for (const v1::Contributor& contributor : step.skipped_nonfinite()) {
    for (const uint32_t loss : contributor.losses()) {
      skipped.append(nb::make_tuple(contributor.rank(), loss));
    }
  }
  result["skipped_nonfinite"] = nb::tuple(skipped);
  result["indexes"] = nb::cast(RowIndexes(step));
  result["direction_cosines"] = ToList(trailer.direction_cosines());
  result["update_cosines"] = ToList(trailer.update_cosines());
  nb::dict timings;
  timings["receive"] = ToSeconds(trailer.timings().receive());
  timings["wait"] = ToSeconds(trailer.timings().wait());
  timings["solve"] = ToSeconds(trailer.timings().solve());
  timings["commit"] = ToSeconds(trailer.timings().commit());
  result["timings"] = timings;
  return result;
}

}  // namespace concord::python
