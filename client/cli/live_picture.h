// What `concord watch` shows in a terminal, as a function of what it knows and
// of the window's size.
#ifndef CONCORD_CLIENT_CLI_LIVE_PICTURE_H_
#define CONCORD_CLIENT_CLI_LIVE_PICTURE_H_

#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "concord/v1/watch.pb.h"

namespace concord {

// What a watcher has been told so far.
struct LiveFacts {
  std::string session;  // "sessions/heat"
  std::string server;
  // The newest step; not set: none was told yet.
  absl::optional<v1::StepDiagnostics> step;
  absl::Time told_at;  // When it came.
  // Step and time of commit of the last ones that were told, oldest first.
  std::deque<std::pair<uint64_t, absl::Time>> commits;
  // The session's smallest cosine between two losses in the last ones told.
  std::deque<double> worst_cosines;
  // Not empty: why nothing is told at present, since `gone_since`.
  std::string trouble;
  absl::Time gone_since;
};

// Takes a step into the facts; keeps as much of the past as a picture shows.
void AddStep(const v1::StepDiagnostics& step, absl::Time now, LiveFacts* facts);

struct WindowSize {
  int columns = 80;
  int rows = 24;
};

// Lines for the window, at most `size.rows`, each at most `size.columns` wide
// without its colours (ANSI sequences of 256 colours). From top to bottom: the
// session and its rate of steps; what the last step found; a row per loss with
// its cosines to the others as coloured cells, from red (-1, they oppose each
// other) to green (1); the ranks, and who was late. What does not fit is left
// out and counted.
std::vector<std::string> DrawLivePicture(const LiveFacts& facts, absl::Time now,
                                         const WindowSize& size);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_LIVE_PICTURE_H_
