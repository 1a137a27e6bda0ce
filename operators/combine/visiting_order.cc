#include "operators/combine/visiting_order.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/combine/state.h"
#include "operators/counter_random.h"
#include "operators/errors.h"

namespace concord {

absl::Status ValidateOrder(const VisitingOrder& order, int num_vectors,
                           absl::string_view field) {
  const auto* given = std::get_if<ExplicitOrder>(&order);
  if (given == nullptr) return absl::OkStatus();
  const int size =
      num_vectors > 0 ? num_vectors : static_cast<int>(given->indexes.size());
  std::vector<int> sorted = given->indexes;
  std::sort(sorted.begin(), sorted.end());
  bool permutation = static_cast<int>(sorted.size()) == size;
  for (int i = 0; permutation && i < size; ++i) permutation = sorted[i] == i;
  if (permutation) return absl::OkStatus();
  return InvalidField(
      "INVALID_OPTION", field, absl::StrJoin(given->indexes, ", "),
      absl::StrCat("every index from 0 to ", size - 1, " exactly once"));
}

std::vector<int> OthersOf(int i, const CombineInput& input,
                          const VisitingOrder& order, uint64_t step) {
  const int m = static_cast<int>(input.gram.rows());
  std::vector<int> others;
  others.reserve(m);
  for (int j = 0; j < m; ++j) {
    if (j != i) others.push_back(j);
  }
  if (const auto* seeded = std::get_if<SeededOrder>(&order)) {
    const auto stream = static_cast<uint32_t>(IndexOf(input, i));
    return ShuffledAt({seeded->seed, step, stream}, std::move(others));
  }
  if (const auto* given = std::get_if<ExplicitOrder>(&order)) {
    const auto place = [&](int j) {
      return std::find(given->indexes.begin(), given->indexes.end(),
                       IndexOf(input, j));
    };
    std::stable_sort(others.begin(), others.end(),
                     [&](int a, int b) { return place(a) < place(b); });
  }
  return others;
}

}  // namespace concord
