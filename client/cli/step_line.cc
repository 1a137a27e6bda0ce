#include "client/cli/step_line.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/step_facts.h"

namespace concord {
namespace {

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.3g ms", absl::ToDoubleMilliseconds(duration));
}

template <typename Numbers>
std::string Listed(const Numbers& numbers) {
  return absl::StrJoin(numbers, " ", [](std::string* out, double number) {
    absl::StrAppendFormat(out, "%.3g", number);
  });
}

}  // namespace

std::string ToLine(const v1::StepDiagnostics& step) {
  const v1::StepResult& result = step.result();
  std::string line = absl::StrCat("step ", result.step());
  if (result.skipped_nonfinite_size() > 0) {
    absl::StrAppend(&line, "  skipped: NaN or Inf from ",
                    SkippedBecauseOf(result));
  } else if (result.warming_up()) {
    absl::StrAppend(&line, "  warming up");
  } else {
    if (!step.trailer().update_cosines().empty()) {
      absl::StrAppend(&line, "  update's cosines ",
                      Listed(step.trailer().update_cosines()));
    }
    if (result.cosines().rows() > 1) {
      absl::StrAppendFormat(&line, "  worst pair %.3g",
                            WorstCosine(result.cosines()));
    }
    if (result.solution().pareto_stationary()) {
      absl::StrAppend(&line, "  Pareto-stationary");
    }
  }
  if (result.losses_size() > 0) {
    absl::StrAppend(&line, "  losses ", Listed(result.losses()));
  }
  if (step.ranks_size() > 1) {
    absl::Duration longest;
    for (const v1::StepDiagnostics::Rank& rank : step.ranks()) {
      longest = std::max(longest, ToDuration(rank.wait()));
    }
    absl::StrAppend(&line, "  waited ", Milliseconds(longest), " for rank ",
                    LastRank(step)->rank());
  }
  const v1::StepTimings& timings = step.trailer().timings();
  absl::StrAppend(&line, "  solve ", Milliseconds(ToDuration(timings.solve())),
                  "  commit ", Milliseconds(ToDuration(timings.commit())));
  if (result.missing_ranks_size() > 0) {
    absl::StrAppend(&line, "  without ranks ",
                    absl::StrJoin(result.missing_ranks(), " "));
  }
  if (step.steps() > 1) {
    absl::StrAppend(&line, "  (", step.steps() - 1, " not told)");
  }
  return absl::StrCat(line, "\n");
}

}  // namespace concord
