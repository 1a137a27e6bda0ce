// What is measured, and how it is summed up.
//
// Two things are compared by measuring them in turns (A B A B …) in one run, so
// that a machine that slows down slows both. A turn is a few untimed steps and
// then `steps` timed ones, of which the median counts; a figure is the median
// of its turns, its spread the smallest and largest of them.
#ifndef CONCORD_TESTS_BENCH_MEASUREMENT_H_
#define CONCORD_TESTS_BENCH_MEASUREMENT_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
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
};

inline Figure FigureOf(const std::vector<double>& turns) {
  return {Median(turns), *std::min_element(turns.begin(), turns.end()),
          *std::max_element(turns.begin(), turns.end())};
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

// The median milliseconds of one turn of `steps` steps.
inline absl::StatusOr<double> Turn(int steps,
                                   const std::function<absl::Status()>& step) {
  std::vector<double> times;
  for (int i = 0; i < kUntimedSteps + steps; ++i) {
    Stopwatch watch;
    const absl::Status status = step();
    if (!status.ok()) return status;
    if (i >= kUntimedSteps) times.push_back(watch.Lap());
  }
  return Median(std::move(times));
}

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_MEASUREMENT_H_
