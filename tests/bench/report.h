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
  std::string kind;  // "embedded", "streamed"
  size_t n = 0;
  int m = 0;
  Figure step;  // Ours.
  // Parts of an embedded step.
  std::optional<EmbeddedStep::Phases> phases;
  // Of the baselines, where they were run.
  std::optional<Figure> floor, echo;
  // Ours over what it is compared with: the median over the turns.
  std::optional<double> ratio;
};

// What a row is compared with, and the figure that it is to keep within; none
// for sizes that nothing was promised for.
struct Target {
  std::string against;  // "floor", "echo", "echo + floor", "ms"
  double limit = 0;     // A ratio, or milliseconds for "ms".
};
std::optional<Target> TargetOf(const std::string& kind, size_t n, int m);

// Whether the row keeps within its target; none where it cannot be told.
std::optional<bool> KeepsTarget(const Row& row);

struct Setting {
  int threads = 1;
  std::string instruction_set;
  int turns = 0;
  bool with_baselines = false;
  std::string wire_type;  // Of streamed steps.
};

std::string Table(const Setting& setting, const std::vector<Row>& rows);
nlohmann::json Json(const Setting& setting, const std::vector<Row>& rows);

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_REPORT_H_
