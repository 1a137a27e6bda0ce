#include "client/cli/step_facts.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

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

std::string SkippedBecauseOf(const v1::StepResult& result) {
  return absl::StrJoin(result.skipped_nonfinite(), ", ",
                       [](std::string* out, const v1::Contributor& skipped) {
                         absl::StrAppend(
                             out, "rank ", skipped.rank(), ": ",
                             skipped.losses_size() == 1 ? "loss " : "losses ",
                             absl::StrJoin(skipped.losses(), " "));
                       });
}

}  // namespace concord
