// The parts of a session that its files share: who is joined, what the open
// round has collected, what was solved and what is committed. Plain data; the
// comments say which of the session's two locks guards what.
#ifndef CONCORD_SERVER_SESSION_ROUND_H_
#define CONCORD_SERVER_SESSION_ROUND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "concord/state/state.pb.h"
#include "concord/v1/step.pb.h"
#include "operators/momentum/gathered_rows.h"
#include "operators/momentum/momentum_operator.h"
#include "server/session/diagnostics.h"
#include "server/session/update.h"

namespace concord {

// A step from its solve on: it cannot fail any more but by the device's error.
struct SolvedStep {
  uint64_t step = 0;
  std::shared_ptr<const v1::StepResult> result;
  std::shared_ptr<Update> update;
  absl::Time solved_at;
  absl::Duration solve;
  // Of a durable session, what its record says beside the operator's state and
  // the answer; null else.
  std::shared_ptr<const state::Record> record;
  std::vector<RankTime> ranks;  // Of those who contributed.
};

// What one rank brings to a round.
struct Contribution {
  uint32_t rank = 0;
  absl::Time begun_at;
  absl::Time complete_at;
  std::vector<int> indexes;          // Losses of its vectors, in their order.
  std::vector<int> loss_indexes;     // Recorded losses.
  std::vector<double> losses;        // The same length.
  std::vector<double> loss_weights;  // The same length, > 0.
  std::vector<int> active;           // Empty: says nothing.
  bool counted = false;              // Complete. Guarded by Session::mutex_.
  // Losses whose vectors have NaN or Inf, where that does not refuse them.
  // Until it counts it belongs to the thread that appends.
  std::vector<int> non_finite;
  // Its vectors are kept whole until the round closes (GatheredRows).
  bool gathers = false;

  // Guarded by Session::staging_mutex_: appending reads, giving up writes.
  std::vector<MomentumOperator::StagedRow*> rows;
  // With `gathers`: of `indexes`, and of the vectors of the header under way.
  std::vector<GatheredRows::Row*> gathered;
  std::vector<GatheredRows::Row*> arriving;
  absl::Status given_up;  // Not OK: its rows are gone, for this reason.
  bool late = false;      // Its rows are gone too; what still comes is dropped.
};

// A round that collects. Guarded by Session::mutex_.
struct Round {
  uint64_t step = 0;
  absl::Time deadline;
  // Contributions that suffice; then, where not all ranks do, this long after
  // `quorum_at` the round goes on with those that are complete.
  uint32_t quorum = 0;
  absl::Duration straggler_timeout = absl::InfiniteDuration();
  absl::Time quorum_at = absl::InfiniteFuture();
  std::vector<std::shared_ptr<Contribution>> contributions;  // By rank; null.
  uint32_t joined = 0;
  uint32_t counted = 0;
  // Who counts is known, and what was gathered is being averaged.
  bool closing = false;
  // The end: one of the two.
  std::shared_ptr<const SolvedStep> solved;
  absl::Status failed;
};

// One worker's stream. Guarded by Session::mutex_.
struct Stream {
  uint32_t rank = 0;
  std::function<void(const absl::Status& reason)>
      cancel;            // Null when it has left.
  absl::Status ended;    // Not OK: what every further call returns.
  bool waiting = false;  // In a wait of the session, which will see it.
  bool busy = false;     // Between Begin and EndStep.
  // Busy with a micro-batch that is not the last; which one comes next.
  bool accumulates = false;
  uint32_t next_micro_batch = 0;

  // The step under way.
  uint64_t step = 0;
  std::shared_ptr<Round> round;  // Null: a replay.
  // Of this rank in `round`; perhaps complete on an older stream, perhaps taken
  // out of the round as too late.
  std::shared_ptr<Contribution> contribution;
  // Null `round`: the answer that was there when the header came. Its update is
  // null where nobody held it any more.
  SolvedStep replay;
  absl::Time begun_at;
};

// What a session remembers of a rank over its streams. Guarded by
// Session::mutex_.
struct RankSlot {
  std::shared_ptr<Stream> stream;  // Null: none is open.
  uint64_t incarnation = 0;        // 0: never joined.
  std::vector<uint64_t> replaced;  // Older incarnations, newest last.
  uint64_t step = 0;               // The last header's.
  uint32_t attempt = 0;
  // Has left, or was not in a round that was solved: rounds that may go on with
  // a quorum do not wait for it.
  bool absent = false;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_ROUND_H_
