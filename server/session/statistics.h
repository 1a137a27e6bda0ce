// What was counted of one session (concord.v1.Statistics); the server's totals
// are the rpc room's metrics.
//
// Threads: safe. A count takes some nanoseconds: no lock, and numbers that are
// read while others are counted may be of different instants.
#ifndef CONCORD_SERVER_SESSION_STATISTICS_H_
#define CONCORD_SERVER_SESSION_STATISTICS_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "concord/v1/statistics.pb.h"
#include "concord/v1/step.pb.h"

namespace concord {

// What became of the losses' conflict in a committed step.
enum class ConflictOutcome {
  kConflictFree,
  kInConflict,
  kStationary,
  kWarmingUp,
  kSkipped  // Nothing was combined: there was NaN or Inf.
};
inline constexpr size_t kConflictOutcomes = 5;
// Whether the step changed nothing but the number of steps.
inline bool WasSkipped(const v1::StepResult& result) {
  return result.skipped_nonfinite_size() > 0;
}
ConflictOutcome OutcomeOf(const v1::StepResult& result);

// What a rank's answer was.
enum class AnswerOutcome { kUpdate, kRepeated, kDropped };
AnswerOutcome AnswerOf(const v1::StepResult& result);

class Statistics {
 public:
  void CountStep(const v1::StepResult& result, const v1::StepTrailer& trailer);
  // `ingest` and `send` as in statistics.proto.
  void CountAnswer(const v1::StepResult& result, const v1::StepTimings& timings,
                   absl::Duration ingest, absl::Duration send);
  void CountFailedStream();
  void CountBytes(uint64_t received, uint64_t sent);

  v1::Statistics Read() const;

 private:
  class Phase {
   public:
    void Add(absl::Duration time);
    void Read(v1::Statistics::Phase* message) const;

   private:
    std::atomic<uint64_t> count_{0};
    std::atomic<int64_t> sum_ns_{0};
  };

  std::array<std::atomic<uint64_t>, kConflictOutcomes> steps_ = {};
  std::array<std::atomic<uint64_t>, 3> answers_ = {};  // By AnswerOutcome.
  Phase receive_, ingest_, wait_, solve_, commit_, send_;
  std::atomic<uint64_t> failed_streams_{0};
  std::atomic<uint64_t> received_bytes_{0};
  std::atomic<uint64_t> sent_bytes_{0};
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_STATISTICS_H_
