#include "server/crash_at.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <iterator>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "operators/errors.h"

namespace concord {

absl::StatusOr<PhaseHook> CrashAt(const std::string& text) {
  constexpr const char* kNames[] = {"receive", "ingest",  "solve",     "commit",
                                    "switch",  "trailer", "checkpoint"};
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  int64_t count = 0;
  size_t phase = 0;
  while (phase < std::size(kNames) && parts[0] != kNames[phase]) ++phase;
  if (parts.size() != 2 || phase == std::size(kNames) ||
      !absl::SimpleAtoi(parts[1], &count) || count < 1) {
    return InvalidField(
        "INVALID_OPTION", "crash_at", text,
        "PHASE:COUNT, COUNT >= 1, PHASE receive, ingest, solve, "
        "commit, switch, trailer or checkpoint");
  }
  auto left = std::make_shared<std::atomic<int64_t>>(count);
  return PhaseHook([left, wanted = static_cast<Phase>(phase)](Phase reached) {
    if (reached == wanted && left->fetch_sub(1) == 1) kill(getpid(), SIGKILL);
  });
}

}  // namespace concord
