// The figures of a run as a table and as JSON, beside what they are to be.
#ifndef CONCORD_TESTS_BENCH_REPORT_H_
#define CONCORD_TESTS_BENCH_REPORT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/bench/embedded_step.h"
#include "tests/bench/measurement.h"

namespace concord::bench {

struct Row {
  // "embedded", "gpu" (embedded there), "streamed", "tls", "unix", "shared";
  // "round" and "round_tcp": of m ranks with one loss each, in shared memory
  // and over TCP.
  std::string kind;
  size_t n = 0;
  int m = 0;
  Figure step;  // Ours.
  // Parts of an embedded step.
  std::optional<EmbeddedStep::Phases> phases;
  // Of the baselines, where they were run.
  std::optional<Figure> floor, echo;
  // Of what a step between processes is compared with: the step in one process,
  // a copy of n floats.
  std::optional<Figure> embedded, copy;
  // Ours over what it is compared with: the median over the turns.
  std::optional<double> ratio;
};

// What a row is compared with, and the figure that it is to keep within; none
// for sizes that nothing was promised for.
struct Target {
  // "floor", "echo", "echo + floor", "ms", "embedded", "echo + embedded",
  // "embedded + 2 copies + .06 ms".
  std::string against;
  double limit = 0;  // A ratio, or milliseconds for "ms".
};
std::optional<Target> TargetOf(const std::string& kind, size_t n, int m);

// Whether the row keeps within its target; none where it cannot be told.
std::optional<bool> KeepsTarget(const Row& row);

struct Setting {
  int threads = 1;
  std::string instruction_set;
  int turns = 0;
  bool with_baselines = false;
  std::string wire_type;   // Of streamed steps.
  size_t chunk_bytes = 0;  // Of theirs.
};

std::string Table(const Setting& setting, const std::vector<Row>& rows);
nlohmann::json Json(const Setting& setting, const std::vector<Row>& rows);

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_REPORT_H_
