// One rank's part in a session: gradients in, the committed update out, step
// after step, over one stream that repairs itself.
//
//   std::vector<float> update(n);
//   for (int i = 0; i < 1000; ++i) {
//     ... gradients g0, g1 and losses l0, l1 at the current parameters ...
//     const StepVector vectors[] = {{0, g0.data()}, {1, g1.data()}};
//     const StepLoss losses[] = {{0, l0}, {1, l1}};
//     auto outcome = worker->Step(vectors, losses, update.data());
//     if (!outcome.ok()) return outcome.status();
//     for (size_t k = 0; k < n; ++k) parameters[k] -= rate * update[k];
//   }
//
// Exactly once. The worker counts its steps itself: the first is the session's
// committed step + 1 when it joined. An update is handed out only after its
// trailer has come and its checksum fits. Until then the same step is asked for
// again on a new stream (attempt + 1), with the same incarnation and, as
// `resume_step`, the last step handed out; the server answers with the same
// bytes, however often.
//
// What is retried (proto/concord/v1/errors.proto), after a pause that grows:
//   UNAVAILABLE, a stream that was cut or ended early, a wrong checksum,
//   ABORTED / ROUND_FAILED, DEADLINE_EXCEEDED / ROUND_TIMEOUT, SEND_TIMEOUT,
//   and RESOURCE_EXHAUSTED / LIMIT_EXCEEDED at a new join, once joined, or
//   where the server says how long to wait (more steps than may come a second).
// What is final, and returned as the server said it:
//   NOT_FOUND (the session is gone, and its momentum with it), SUPERSEDED
//   (another process has taken this rank), FAILED_PRECONDITION (STEP_STALE and
//   STEP_AHEAD tell `committed_step` in their metadata), INVALID_ARGUMENT, and
//   everything else. After NOT_FOUND and SUPERSEDED every further Step returns
//   the same; open a new worker.
//
// After any other failed Step the step number is unchanged, and the next Step
// joins anew and tries it again. A contribution that had reached the server to
// its end counts, however: the round then uses that one, not what a later Step
// brings.
//
// Micro-batches. A step's gradients may come in several parts, which the server
// sums element by element in the order in which they come: Accumulate for each
// but the last, Step for that one. The memory is the caller's again when
// Accumulate returns; what is lost with a connection is therefore for the
// caller to bring again (ABORTED, ACCUMULATION_LOST).
//
// Threads: one at a time. Fork: as for Client (client.h).
#ifndef CONCORD_CLIENT_CPP_SESSION_H_
#define CONCORD_CLIENT_CPP_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "client/cpp/options.h"
#include "concord/v1/step.pb.h"

namespace concord {

struct WorkerOptions {
  std::string session;  // "sessions/{id}"
  uint32_t rank = 0;    // In [0, num_workers).

  // Names this worker process for this rank; 0: a random one. Give one only to
  // carry on as a worker that is known not to run any more.
  uint64_t incarnation = 0;

  // What is known of the session from before; a mismatch is refused. Empty or
  // 0: first contact.
  std::string uid;
  uint64_t epoch = 0;

  // The last step whose update this job has applied, when it carries on from a
  // checkpoint: the session's committed step, or one less to get the committed
  // update. Required where the session has committed steps. The first Step is
  // then resume_step + 1.
  absl::optional<uint64_t> resume_step;

  // Hash of the caller's layout; 0: not checked.
  uint64_t layout_hash = 0;
};

// A gradient that this rank brings. `data`: num_parameters elements in host
// memory, read while Step runs and not after.
struct StepVector {
  int index;  // Loss, in [0, num_vectors); at most once per step.
  const void* data;
  double sample_weight = 1;  // Finite, > 0.
  // Of `data`'s elements: the session's data_type (what DATA_TYPE_UNSPECIFIED
  // stands for), which is rounded to nearest where the session's gradient_type
  // has 16 bits, or that gradient_type, which is sent as it is. Anything else
  // is INVALID_ARGUMENT, DATA_TYPE_MISMATCH.
  v1::DataType data_type = v1::DATA_TYPE_UNSPECIFIED;
};

// A loss value for the session's recorder.
struct StepLoss {
  int index;
  double value;
  double sample_weight = 1;
};

struct StepOptions {
  // The losses that count in this step's combination; empty: all. Ranks that
  // name any must name the same ones.
  std::vector<int> active;

  // W3C's traceparent of this step; empty: none but the client's. Where it is
  // sampled the server's log tells of the step.
  std::string traceparent;

  // As in CallOptions, for the step with all its retries.
  absl::Duration timeout = absl::Minutes(15);
  std::function<bool()> is_cancelled;
};

struct StepOutcome {
  // Step number, Gram and cosine matrix, coefficients, recorded losses, who
  // contributed, and the flags: result.warming_up(), result.repeated(),
  // result.solution().conflict_free() and .pareto_stationary().
  v1::StepResult result;
  v1::StepTrailer trailer;  // Cosines of the update, timings.
  // Tries of this step by this worker, those of earlier failed calls included.
  uint32_t attempts = 0;
};

class WorkerSession {
 public:
  // Leaves the session (waits at most a second for a clean end).
  ~WorkerSession();
  WorkerSession(const WorkerSession&) = delete;
  WorkerSession& operator=(const WorkerSession&) = delete;

  // What the server said when this worker last joined: uid, epoch, n, m, type.
  const v1::Joined& joined() const;

  uint64_t incarnation() const;

  // The last step whose update was handed out (or resume_step, or the committed
  // step at the join): what to write into a checkpoint.
  uint64_t applied_step() const;

  // One step: brings the contributions and losses (either may be empty) and
  // waits until the round is committed. `update`: num_parameters elements of
  // the session's data_type, whatever its update_type (one of 16 bits is
  // widened), overlapping none of the contributions; half written,
  // possibly, when Step fails, and wholly rewritten by each retry.
  //
  // When Step returns, with success or not, nobody reads or writes the
  // caller's memory any more.
  absl::StatusOr<StepOutcome> Step(absl::Span<const StepVector> contributions,
                                   absl::Span<const StepLoss> losses,
                                   void* update,
                                   const StepOptions& options = {});

  // Memory for the update of one Step, into which a server in shared memory
  // writes by itself; updates to other memory are copied. It has num_parameters
  // elements with any content, is the caller's for as long as it holds the
  // pointer, and is used again after that; a forked child shares it with its
  // parent. Null: there is no such memory (the vectors travel, the update is
  // rounded to 16 bits, or three are in use): have the update elsewhere.
  std::shared_ptr<void> TakeUpdate();

  // Memory for a gradient, from which a server in shared memory reads by
  // itself; gradients in other memory are copied. It has num_parameters
  // elements of the session's gradient_type with any content, is the caller's
  // for as long as it holds the pointer (also for several steps, but a Step
  // that failed has taken it away from the server: later ones copy it), and is
  // used again after that. Null: there is no such memory (the vectors travel,
  // or 2 num_vectors are in use): have the gradient elsewhere.
  std::shared_ptr<void> TakeGradient();

  // One of several micro-batches of the coming step, which Step closes with the
  // last of them. The same losses in all of them, with the same weights; the
  // values of losses, and StepOptions::active, are Step's. The first one is
  // retried as a Step is. After ABORTED, ACCUMULATION_LOST, from here or from
  // Step, nothing of the step is kept: begin again with its first micro-batch.
  absl::Status Accumulate(absl::Span<const StepVector> contributions,
                          const StepOptions& options = {});

  // Goes for good: until this rank joins again it counts as absent, so that
  // rounds with a quorum (Session.min_workers) do not wait for it. Every
  // further Step is refused. (A worker that is merely destroyed is expected
  // back.)
  absl::Status Leave(const CallOptions& options = {});

 private:
  friend class Client;
  class Impl;
  explicit WorkerSession(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SESSION_H_
