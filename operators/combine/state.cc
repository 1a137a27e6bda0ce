#include "operators/combine/state.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {

absl::StatusOr<std::vector<double>> StateOrZeros(const CombineInput& input,
                                                 size_t size) {
  if (input.state.empty()) return std::vector<double>(size, 0.0);
  if (input.state.size() != size) {
    return InvalidField("INVALID_OPTION", "state",
                        absl::StrCat(input.state.size(), " numbers"),
                        absl::StrCat(size, ", or none"));
  }
  for (const double number : input.state) {
    if (!std::isfinite(number)) {
      return InvalidField("INVALID_OPTION", "state", absl::StrCat(number),
                          "finite numbers");
    }
  }
  return std::vector<double>(input.state.begin(), input.state.end());
}

int NumVectors(const CombineInput& input, int num_vectors) {
  if (num_vectors > 0) return num_vectors;
  int most = static_cast<int>(input.gram.rows());
  for (const int index : input.indexes) most = std::max(most, index + 1);
  return most;
}

}  // namespace concord
