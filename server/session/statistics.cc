#include "server/session/statistics.h"

#include "server/session/messages.h"

namespace concord {

ConflictOutcome OutcomeOf(const v1::StepResult& result) {
  if (WasSkipped(result)) return ConflictOutcome::kSkipped;
  if (result.warming_up()) return ConflictOutcome::kWarmingUp;
  if (result.solution().pareto_stationary()) {
    return ConflictOutcome::kStationary;
  }
  return result.solution().conflict_free() ? ConflictOutcome::kConflictFree
                                           : ConflictOutcome::kInConflict;
}

AnswerOutcome AnswerOf(const v1::StepResult& result) {
  if (result.dropped()) return AnswerOutcome::kDropped;
  return result.repeated() ? AnswerOutcome::kRepeated : AnswerOutcome::kUpdate;
}

void Statistics::Phase::Add(absl::Duration time) {
  count_.fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(absl::ToInt64Nanoseconds(time), std::memory_order_relaxed);
}

void Statistics::Phase::Read(v1::Statistics::Phase* message) const {
  message->set_count(count_.load(std::memory_order_relaxed));
  FillDuration(absl::Nanoseconds(sum_ns_.load(std::memory_order_relaxed)),
               message->mutable_sum());
}

void Statistics::CountStep(const v1::StepResult& result,
                           const v1::StepTrailer& trailer) {
  steps_[static_cast<size_t>(OutcomeOf(result))].fetch_add(
      1, std::memory_order_relaxed);
  solve_.Add(ToDuration(trailer.timings().solve()));
  commit_.Add(ToDuration(trailer.timings().commit()));
}

void Statistics::CountAnswer(const v1::StepResult& result,
                             const v1::StepTimings& timings,
                             absl::Duration ingest, absl::Duration send) {
  answers_[static_cast<size_t>(AnswerOf(result))].fetch_add(
      1, std::memory_order_relaxed);
  send_.Add(send);
  // What was answered from before has no times of its own.
  if (!timings.has_receive()) return;
  receive_.Add(ToDuration(timings.receive()));
  ingest_.Add(ingest);
  wait_.Add(ToDuration(timings.wait()));
}

void Statistics::CountFailedStream() {
  failed_streams_.fetch_add(1, std::memory_order_relaxed);
}

void Statistics::CountBytes(uint64_t received, uint64_t sent) {
  received_bytes_.fetch_add(received, std::memory_order_relaxed);
  sent_bytes_.fetch_add(sent, std::memory_order_relaxed);
}

v1::Statistics Statistics::Read() const {
  const auto read = [](const std::atomic<uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  v1::Statistics message;
  v1::Statistics::Steps& steps = *message.mutable_steps();
  steps.set_conflict_free(read(steps_[0]));
  steps.set_in_conflict(read(steps_[1]));
  steps.set_stationary(read(steps_[2]));
  steps.set_warming_up(read(steps_[3]));
  steps.set_skipped(read(steps_[4]));
  v1::Statistics::Answers& answers = *message.mutable_answers();
  answers.set_update(read(answers_[0]));
  answers.set_repeated(read(answers_[1]));
  answers.set_dropped(read(answers_[2]));
  receive_.Read(message.mutable_receive());
  ingest_.Read(message.mutable_ingest());
  wait_.Read(message.mutable_wait());
  solve_.Read(message.mutable_solve());
  commit_.Read(message.mutable_commit());
  send_.Read(message.mutable_send());
  message.set_failed_streams(read(failed_streams_));
  message.set_received_bytes(read(received_bytes_));
  message.set_sent_bytes(read(sent_bytes_));
  return message;
}

}  // namespace concord
