// What the lines and the picture of a step both say.
#ifndef CONCORD_CLIENT_CLI_STEP_FACTS_H_
#define CONCORD_CLIENT_CLI_STEP_FACTS_H_

#include <string>

#include "absl/time/time.h"
#include "concord/v1/watch.pb.h"

namespace concord {

absl::Duration ToDuration(const google::protobuf::Duration& duration);

// The smallest cosine between two rows; 1 where there are not two.
double WorstCosine(const v1::Matrix& cosines);

// Who came last: the one that waited least. Null without ranks.
const v1::StepDiagnostics::Rank* LastRank(const v1::StepDiagnostics& step);

// "rank 1: losses 0 2, rank 4: loss 1"
std::string SkippedBecauseOf(const v1::StepResult& result);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_STEP_FACTS_H_
