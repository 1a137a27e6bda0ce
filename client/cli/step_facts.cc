#include "client/cli/step_facts.h"

#include <algorithm>
#include <cstdint>

namespace concord {

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

double WorstCosine(const v1::Matrix& cosines) {
  double worst = 1;
  for (uint32_t i = 0; i < cosines.rows(); ++i) {
    for (uint32_t j = 0; j < i; ++j) {
      worst = std::min(
          worst, cosines.values(static_cast<int>(i * cosines.columns() + j)));
    }
  }
  return worst;
}

const v1::StepDiagnostics::Rank* LastRank(const v1::StepDiagnostics& step) {
  const auto last =
      std::min_element(step.ranks().begin(), step.ranks().end(),
                       [](const v1::StepDiagnostics::Rank& a,
                          const v1::StepDiagnostics::Rank& b) {
                         return ToDuration(a.wait()) < ToDuration(b.wait());
                       });
  return last == step.ranks().end() ? nullptr : &*last;
}

}  // namespace concord
