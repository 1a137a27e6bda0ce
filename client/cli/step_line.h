// One committed step as one line.
#ifndef CONCORD_CLIENT_CLI_STEP_LINE_H_
#define CONCORD_CLIENT_CLI_STEP_LINE_H_

#include <string>

#include "concord/v1/watch.pb.h"

namespace concord {

// For people: step, cosines of the update and worst cosine between the rows,
// losses, times, who was missing, and how many steps were not told.
std::string ToLine(const v1::StepDiagnostics& step);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_STEP_LINE_H_
