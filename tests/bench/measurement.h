// What is measured, and how it is summed up.
//
// Two things are compared by measuring them in turns (A B A B …) in one run, so
// that a machine that slows down slows both. A turn is a few untimed steps and
// then `steps` timed ones, of which the median counts, and the 99th percentile;
// a figure is the median of its turns, its spread the smallest and largest of
// them.
#ifndef CONCORD_TESTS_BENCH_MEASUREMENT_H_
#define CONCORD_TESTS_BENCH_MEASUREMENT_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace concord::bench {

inline constexpr int kUntimedSteps = 2;

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Milliseconds.
struct Figure {
  double median = 0, low = 0, high = 0;
  std::optional<double> p99;  // Where the steps were timed one by one.
};

inline Figure FigureOf(const std::vector<double>& turns) {
  return {Median(turns), *std::min_element(turns.begin(), turns.end()),
          *std::max_element(turns.begin(), turns.end()), std::nullopt};
}

// Of one turn's steps, milliseconds.
struct TurnTimes {
  double median = 0, p99 = 0;
};

inline Figure FigureOf(const std::vector<TurnTimes>& turns) {
  std::vector<double> medians, p99s;
  for (const TurnTimes& turn : turns) {
    medians.push_back(turn.median);
    p99s.push_back(turn.p99);
  }
  Figure figure = FigureOf(medians);
  figure.p99 = Median(std::move(p99s));
  return figure;
}

class Stopwatch {
 public:
  // Milliseconds since the last call or the beginning.
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    const double lap =
        std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
    return lap;
  }

 private:
  std::chrono::steady_clock::time_point last_ =
      std::chrono::steady_clock::now();
};

// One turn of `steps` steps.
inline absl::StatusOr<TurnTimes> Turn(
    int steps, const std::function<absl::Status()>& step) {
  std::vector<double> times;
  for (int i = 0; i < kUntimedSteps + steps; ++i) {
    Stopwatch watch;
    const absl::Status status = step();
    if (!status.ok()) return status;
    if (i >= kUntimedSteps) times.push_back(watch.Lap());
  }
  std::sort(times.begin(), times.end());
  return TurnTimes{times[times.size() / 2], times[times.size() * 99 / 100]};
}

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_MEASUREMENT_H_
