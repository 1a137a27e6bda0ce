// One worker's stream in a session, as the rpc room drives it:
//
//   join       auto stream = registry.Join(join, cancel)   -> stream->joined()
//   each step  stream->Begin(header)
//              stream->Append(position, fragments)  until stream->complete()
//              stream->Finish(is_cancelled)         -> result, update
//              send the result, the update's bytes as they become final and
//              the trailer (reply.Trailer)
//              stream->EndStep()
//   leave      stream->Leave(), where the worker says so; the destructor
//
// Every call that returns an error ends the stream: the caller passes the
// status on and destroys the object. What that means for the round: a
// contribution that is not complete is taken out of it and the round stays
// open; a complete one stays. Committed state is never touched by an error.
//
// Threads: one at a time. Other streams of the session run beside it.
#ifndef CONCORD_SERVER_SESSION_RANK_STREAM_H_
#define CONCORD_SERVER_SESSION_RANK_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "concord/v1/step.pb.h"
#include "server/session/gradient_widener.h"
#include "server/session/ingest.h"
#include "server/session/update.h"

namespace concord {

class Session;
struct Contribution;
struct Stream;

// What a rank gets for its contribution, once the round is solved.
struct StepReply {
  std::shared_ptr<const v1::StepResult> result;
  std::shared_ptr<const Update> update;
  v1::StepTimings timings;  // This rank's: receive, wait.

  // The trailer to send, once `committed` has come from
  // update->WaitForTrailer(): with all timings.
  v1::StepTrailer Trailer(const v1::StepTrailer& committed) const;
};

class RankStream {
 public:
  // Made by Session::Join.
  RankStream(std::shared_ptr<Session> session, std::shared_ptr<Stream> stream,
             v1::Joined joined);
  RankStream(const RankStream&) = delete;
  RankStream& operator=(const RankStream&) = delete;

  // Leaves the session. Afterwards the cancel callback is not called any more.
  ~RankStream();

  const v1::Joined& joined() const { return joined_; }
  Session& session() { return *session_; }

  // Checks all of the header and opens its vectors. The errors of step.proto's
  // StepHeader and VectorHeader; PROTOCOL_VIOLATION while a step is under way.
  absl::Status Begin(const v1::StepHeader& header);

  // One chunk's data, which may lie in pieces: ingested while it arrives.
  // CHUNK_MISPLACED, CHUNK_TOO_LARGE, NON_FINITE (at the end of a vector), or
  // what ended the round or the stream meanwhile (ROUND_TIMEOUT, SUPERSEDED,
  // SESSION_NOT_FOUND).
  absl::Status Append(const ChunkPosition& position,
                      absl::Span<const absl::Span<const std::byte>> fragments);

  // The data of a StepContribution: goes on where the last byte was, over as
  // many vectors as it covers.
  absl::Status AppendNext(absl::Span<const absl::Span<const std::byte>> data);

  // All bytes that the header announced are in; at once without vectors.
  bool complete() const { return cursor_.complete(); }

  // What the header announced is one of several micro-batches and not the last:
  // once it is complete, Begin the next one. Its vectors are added to those
  // before.
  bool awaits_micro_batch() const { return awaits_micro_batch_; }

  // Counts the contribution and waits until the round is solved; the update is
  // then still being written (follow it). CANCELLED when `is_cancelled` says so
  // (it is called with the session's lock held: it must be quick and not call
  // back); the complete contribution stays in the round. Alone of all errors it
  // leaves the stream as it is, which may Finish again.
  absl::StatusOr<StepReply> Finish(absl::FunctionRef<bool()> is_cancelled);

  // The reply is written. OK, or the status with which to end the stream now
  // (DRAINING): read no further header.
  absl::Status EndStep();

  // The worker goes for good (step.proto's Leave): what it has not completed is
  // taken out of the round, and rounds with a quorum do not wait for it. What
  // ended the stream before, else OK; the object is good for nothing more.
  absl::Status Leave();

 private:
  const std::shared_ptr<Session> session_;
  const std::shared_ptr<Stream> stream_;
  // The step under way; the caller's own, no lock.
  ChunkCursor cursor_;
  std::shared_ptr<Contribution> contribution_;  // Null: vectors are dropped.
  bool awaits_micro_batch_ = false;
  const v1::Joined joined_;
  std::unique_ptr<GradientWidener> widener_;  // Null: nothing is to widen.
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_RANK_STREAM_H_
