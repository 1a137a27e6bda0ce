// One training job: its operator, its ranks, and its rounds.
//
// A round collects the contributions to step committed + 1. When all ranks'
// contributions are complete, the thread that brought the last one solves it;
// from then on the step cannot fail or wait. Its update is committed inline
// when it is small, else by a committer thread, and is sent while it is written
// (Update). A rank that asks for the committed step again gets the same bytes,
// from the update where somebody still holds it, else recomputed.
//
// With min_workers a round also goes on when every rank that is not absent has
// brought its contribution, or straggler_timeout after the quorum was complete,
// or at its deadline (session_quorum.cc). Who comes later is answered with what
// was committed without it, and is absent until its next contribution.
//
// A round whose time has come is solved, or failed past its deadline, by
// whoever notices first: a waiting rank, the next header, a rank that leaves,
// or Reap.
//
// Locks, in the order in which they are taken:
//   mutex_          who is joined, the round, what is committed; never held
//                   during a pass over a long vector but for a replay
//   staging_mutex_  the operator. Shared: append to rows (each rank its own).
//                   Exclusive: everything else, for the whole of a commit.
//
// Threads: safe. Streams (RankStream) hold the session; so does a commit.
#ifndef CONCORD_SERVER_SESSION_SESSION_H_
#define CONCORD_SERVER_SESSION_SESSION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "concord/state/state.pb.h"
#include "concord/v1/checkpoint.pb.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/gathered_rows.h"
#include "operators/momentum/layout.h"
#include "operators/momentum/momentum_operator.h"
#include "server/session/caller_account.h"
#include "server/session/checkpoint.h"
#include "server/session/clock.h"
#include "server/session/committer.h"
#include "server/session/diagnostics.h"
#include "server/session/memory_budget.h"
#include "server/session/phase.h"
#include "server/session/rank_stream.h"
#include "server/session/round.h"
#include "server/session/statistics.h"
#include "server/session/update.h"
#include "server/session/vector_mirror.h"
#include "server/storage/checkpoint_directory.h"
#include "server/storage/state_file.h"

namespace concord {

class Session : public std::enable_shared_from_this<Session> {
 public:
  // What a session is made of; the registry has checked and reserved.
  struct Parts {
    v1::Session options;  // Normalized, with name, uid, epoch, create_time, ….
    std::shared_ptr<Kernels> kernels;
    CommitterPool* committers = nullptr;
    std::unique_ptr<MemoryBudget::Reservation> reservation;
    // Whose session it is, if anybody's.
    std::unique_ptr<CallerAccount::Use> use;
    std::shared_ptr<MemoryBudget> budget;  // For what comes on top.
    const Clock* clock = nullptr;
    uint64_t max_chunk_bytes = 0;
    // Where every committed step is kept; null: nowhere. With `stored`, the
    // record of a session that was there before and goes on.
    std::shared_ptr<StateFile> state;
    std::optional<state::Record> stored;
    // Where its checkpoints are; null: nowhere. `take_checkpoint` is called,
    // with a lock held, when the session's policy asks for one: to call
    // Checkpoint on some other thread.
    std::shared_ptr<CheckpointDirectory> checkpoints;
    std::function<void(std::shared_ptr<Session>)> take_checkpoint;
    // Told of every committed step, with a lock held: quick. Null: nobody.
    CommitHook on_commit;
    PhaseHook phase;
    // Of a session whose place this one takes (PassOn); null: its own.
    std::shared_ptr<Diagnostics> diagnostics;
    std::shared_ptr<Statistics> statistics;
  };

  // Allocates the session's vectors; RESOURCE_EXHAUSTED from the device, the
  // errors of the state file.
  static absl::StatusOr<std::shared_ptr<Session>> Create(Parts parts);

  // The message: options, and where the session is now.
  v1::Session Describe() const;
  const std::string& name() const { return parts_.options.name(); }
  const std::string& uid() const { return parts_.options.uid(); }
  // OK where `uid` is empty or this creation's; else SESSION_REPLACED.
  absl::Status CheckUid(absl::string_view uid) const;
  // The normalized options as they were at creation.
  const v1::Session& options() const { return parts_.options; }
  absl::Duration send_timeout() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes `merge(current options)`, normalized, the options from the next round
  // on; returns what Describe then does. The errors of `merge`, and those of
  // session.proto's UpdateSession; then nothing changed.
  absl::StatusOr<v1::Session> ChangeOptions(
      absl::FunctionRef<absl::StatusOr<v1::Session>(const v1::Session&)> merge)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // Opens a worker's stream, ends the rank's older one (SUPERSEDED) and takes
  // its contribution out of the round unless it is complete. The errors of
  // step.proto's Join: RANK_OUT_OF_RANGE, PROTOCOL_VIOLATION (incarnation 0),
  // SESSION_REPLACED, EPOCH_CHANGED, SESSION_IN_PROGRESS, SUPERSEDED (an
  // incarnation that was replaced), DRAINING, SESSION_NOT_FOUND.
  //
  // `cancel_stream` must make the stream's blocked reads and writes return, and
  // tell the client `reason`. It
  // is called at most once, on any thread, with a lock held: it must be quick
  // and not call back. It is called only while the stream does not wait inside
  // the session; one that waits gets a status instead.
  absl::StatusOr<std::unique_ptr<RankStream>> Join(
      const v1::Join& join,
      std::function<void(const absl::Status& reason)> cancel_stream);

  // Follows the session's steps, from the last committed one on; not a use of
  // the session that would keep it. SESSION_REPLACED, and what Close was given;
  // the watcher's Next returns that too.
  absl::StatusOr<std::unique_ptr<Diagnostics::Watcher>> Watch(
      const v1::WatchRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all streams with `reason`, and every later call.
  void Close(absl::Status reason);

  // No new streams and rounds from now on (DRAINING); streams with nothing
  // under way are cancelled.
  void StartDraining();
  // Waits until nothing is under way any more; false when `deadline` came
  // first.
  bool AwaitQuiet(absl::Time deadline);

  // Fails the round if it is past its deadline. True when the session has no
  // stream and was not used for its idle_ttl.
  bool Reap();

  // Says that the session is in use.
  void Touch();

  // What its streams and steps were. Steps count themselves; the rpc room
  // counts the rest.
  Statistics& statistics() { return *statistics_; }

  // The last committed state, while steps go on.
  absl::StatusOr<SessionSnapshot> Snapshot()
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // Writes it into the session's checkpoints and removes those that are more
  // than the policy keeps. NOT_DURABLE; the errors of checkpoint_directory.h.
  absl::StatusOr<CheckpointFile> Checkpoint()
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // Where the policy has any taken: one now, by whoever takes them. The first
  // one of another layout need not wait for its turn.
  void AskForCheckpoint() ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // Makes the state of a checkpoint the session's: epoch + 1, and the open
  // round and all streams end with EPOCH_CHANGED. INVALID_ARGUMENT where it
  // does not fit; then nothing changed but that the open round has failed.
  absl::StatusOr<v1::Session> Restore(const StoredCheckpoint& stored)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // ---- Another layout (session_layout.cc) ----
  // What a session that takes this one's place goes on with.
  void PassOn(Parts* parts) const;
  // Makes `successor`, which was made of this session's options with another
  // layout, what this session is: its state under that layout, epoch + 1, its
  // ranks and the number of its steps. Then calls `publish`, and if that
  // succeeds this session is at its end: its streams end with EPOCH_CHANGED,
  // calls with UNAVAILABLE, SESSION_PARKED. Answers that are being sent are
  // waited for, send_timeout at most. On an error all stays as it was, but that
  // the open round has failed with EPOCH_CHANGED.
  absl::Status HandOver(const LayoutChange& change, Session* successor,
                        absl::FunctionRef<absl::Status()> publish)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

  // Of a closed session whose steps are kept: writes everything out and marks
  // the file as clean. Takes as long as the disk does.
  // `give_up` is asked in between: DEADLINE_EXCEEDED, the file stays as a crash
  // would leave it.
  absl::Status CloseState(absl::FunctionRef<bool()> give_up)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);

 private:
  friend class RankStream;

  // What is committed: the last step's answer, for those who ask again.
  struct Committed {
    uint64_t step = 0;
    std::shared_ptr<const v1::StepResult> result;
    v1::StepTrailer trailer;
    // Held by its senders, or by `kept` in a session that cannot recompute it
    // or has a history.
    std::weak_ptr<Update> update;
    std::shared_ptr<Update> kept;
    std::vector<RankTime> ranks;
    absl::Time time = absl::InfinitePast();  // Not known: from a file.
  };

  explicit Session(Parts parts);

  // ---- What is kept of it (session_state.cc) ----
  // Goes on from a record, whose state the operator has.
  void TakeUp(const state::Record& record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Epoch, options and ranks; null where nothing is kept.
  std::shared_ptr<const state::Record> BeginRecord() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The record with the operator's state, and the committed step's answer.
  state::Record CompleteRecord(const state::Record& begun,
                               const v1::StepResult* result,
                               const v1::StepTrailer* trailer) const
      ABSL_SHARED_LOCKS_REQUIRED(staging_mutex_);
  // The same with the answer to the committed step.
  state::Record CompleteCommittedRecord(const state::Record& begun) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_, staging_mutex_);
  // Makes `record` the file's valid one, after the vectors that it names.
  absl::Status WriteRecord(const state::Record& record) const
      ABSL_SHARED_LOCKS_REQUIRED(staging_mutex_);
  // Makes what is committed now the valid record, with the options of now.
  absl::Status KeepCommitted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_)
      ABSL_LOCKS_EXCLUDED(staging_mutex_);
  void Reached(Phase phase) const {
    if (parts_.phase != nullptr) parts_.phase(phase);
  }

  bool skips_non_finite() const {
    return parts_.options.on_nonfinite() == v1::NON_FINITE_SKIP;
  }

  bool CheckpointIsDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether there is a place for one, and none is on its way.
  bool MayAskForCheckpoint() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeCheckpointLater() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckFits(const StoredCheckpoint& stored) const
      ABSL_SHARED_LOCKS_REQUIRED(staging_mutex_);
  absl::StatusOr<uint64_t> ChecksumOfCommitted(const v1::StepResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) ABSL_LOCKS_EXCLUDED(staging_mutex_);
  absl::Status closed() const ABSL_LOCKS_EXCLUDED(mutex_);

  // What HandOver gives besides the vectors; the operator has them then.
  absl::Status Receive(const LayoutChange& change, MomentumOperator* from,
                       uint64_t epoch, uint64_t committed_step,
                       const std::vector<RankSlot>& ranks)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);
  // A rank is being sent what a round that is over has found.
  bool IsAnswering() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends all streams, and every later call with `reason`.
  void EndAllStreams(const absl::Status& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- For RankStream (session.cc, session_round.cc) ----
  // The contribution to append to; null when the vectors are to be dropped.
  absl::StatusOr<std::shared_ptr<Contribution>> Begin(
      Stream* stream, const v1::StepHeader& header);
  absl::Status Append(Contribution* contribution, size_t vector,
                      absl::Span<const absl::Span<const std::byte>> data,
                      bool ends_vector, GradientWidener* widener);
  // What the end of a vector means to the contribution: where NaN and Inf skip
  // the step they are noted and no error.
  absl::Status Completed(Contribution* contribution, int index,
                         const absl::Status& complete) const;
  absl::StatusOr<StepReply> Finish(Stream* stream,
                                   absl::FunctionRef<bool()> is_cancelled);
  absl::Status EndStep(Stream* stream);
  // The stream has ended.
  void Leave(Stream* stream);
  // The worker says that it goes for good (step.proto's Leave).
  absl::Status Depart(Stream* stream);
  // What ended the stream, if anything did.
  absl::Status StreamStatus(const Stream* stream) const;

  // ---- Streams (session.cc) ----
  v1::Session DescribeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The options that wait for the end of a round, once it has come.
  void ApplyPending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_)
      ABSL_LOCKS_EXCLUDED(staging_mutex_);
  absl::Status CheckJoin(const v1::Join& join) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndStream(Stream* stream, const absl::Status& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseLocked(const absl::Status& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndIdleStreams() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Wakes those who wait on changed_, if any do.
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sleeps until woken, for a tick at most; `stream` may be null.
  void Sleep(Stream* stream, absl::Duration most)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- The round (session_round.cc) ----
  absl::Status CheckHeader(const v1::StepHeader& header) const;
  absl::Status CheckStep(uint32_t rank, const v1::StepHeader& header) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status JoinRound(Stream* stream, const v1::StepHeader& header)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckAgainstRound(uint32_t rank,
                                 const v1::StepHeader& header) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The stream's contribution is in the open round and not complete.
  bool TakesVectors(const Stream& stream) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginMicroBatch(Stream* stream, const v1::StepHeader& header)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Opens what the header announces.
  absl::Status StageRows(const v1::StepHeader& header,
                         Contribution* contribution)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) ABSL_LOCKS_EXCLUDED(staging_mutex_);
  absl::Status GatherRows(const v1::StepHeader& header,
                          Contribution* contribution)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_, staging_mutex_);
  // OK as reason: it came too late, the rest of it is read and dropped.
  void GiveUp(Contribution* contribution, const absl::Status& reason)
      ABSL_LOCKS_EXCLUDED(staging_mutex_);
  // Takes the stream's contribution out of the open round unless it counts.
  void Withdraw(Stream* stream, const absl::Status& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailRound(const absl::Status& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AwaitCommit(Stream* stream,
                           absl::FunctionRef<bool()> is_cancelled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- When a round ends (session_quorum.cc) ----
  std::shared_ptr<Round> NewRound(uint64_t step, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts the stream's contribution, unless it is too late.
  void Count(Stream* stream, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // When the round ends even if nobody comes any more.
  absl::Time EndOf(const Round& round) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsDue(const Round& round, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Solves the open round when it is due, fails it when it is past its
  // deadline; what came of it is in the round.
  void CheckRound(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // From now on nobody adds to the round: takes out of it what is not complete.
  void TakeOutLate(Round* round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_)
      ABSL_LOCKS_EXCLUDED(staging_mutex_);
  // Ranks without a part in the round that was solved.
  void NoteAbsent(const Round& round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Earlier steps (session_history.cc) ----
  absl::Status StepError(uint64_t step) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ResyncError(absl::string_view field, uint64_t step,
                           uint64_t oldest) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The oldest step whose update can be had.
  uint64_t OldestStep() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Null unless the step is in the history.
  const SolvedStep* FindInHistory(uint64_t step) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // To be called before another step is committed.
  void KeepInHistory() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Solve, commit, replay (session_commit.cc) ----
  // Closes the open round with what is complete: solves or fails it, perhaps in
  // the background, where long vectors have to be averaged first.
  void CloseRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AverageInBackground(const std::shared_ptr<Round>& round)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);
  // All rows of the open round are staged: solves or fails it.
  void SolveRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The open round is solved, and cannot fail any more: ends and commits it,
  // perhaps in the background.
  void CommitRound(std::shared_ptr<SolvedStep> solved, absl::Time begun_at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) ABSL_LOCKS_EXCLUDED(staging_mutex_);
  // What the result of every round says.
  std::shared_ptr<v1::StepResult> BeginResult(const Round& round) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<const v1::StepResult> MakeResult(const Round& round) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_)
          ABSL_SHARED_LOCKS_REQUIRED(staging_mutex_);
  // Writes the solved step's update; the trailer that says so.
  absl::StatusOr<v1::StepTrailer> Commit(const SolvedStep& solved)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(staging_mutex_);
  absl::Status CommitOperator(const SolvedStep& solved,
                              v1::StepTrailer* trailer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(staging_mutex_);
  void CommitInBackground(const std::shared_ptr<const SolvedStep>& solved)
      ABSL_LOCKS_EXCLUDED(mutex_, staging_mutex_);
  void Install(const std::shared_ptr<const SolvedStep>& solved,
               absl::StatusOr<v1::StepTrailer> trailer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The committed step; null update when nobody holds it any more.
  SolvedStep CommittedStep() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<SolvedStep> Recompute() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StepReply MakeReply(const Stream& stream, const SolvedStep& solved,
                      bool repeated) const;

  // ---- Steps that are skipped because of NaN or Inf (session_skip.cc) ----
  bool IsSkipped(const Round& round) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Closes the open round without its vectors: commits a step that changes
  // nothing but the number of steps.
  void SkipRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_)
      ABSL_LOCKS_EXCLUDED(staging_mutex_);
  // Writes the committed update once more, that of the answer `result`; its
  // checksum.
  absl::StatusOr<uint64_t> RewriteCommitted(const v1::StepResult* result,
                                            Update* update)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(staging_mutex_);

  // ---- Watchers (session_watch.cc) ----
  static std::vector<RankTime> RankTimes(const Round& round,
                                         const SolvedStep& solved);
  // Of the committed step.
  std::shared_ptr<const StepFacts> CollectFacts() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Parts parts_;
  const OperatorOptions operator_options_;
  const uint64_t vector_bytes_;    // In the session's own type.
  const uint64_t gradient_bytes_;  // On the wire.
  const std::optional<HalfType> update_half_;
  const std::shared_ptr<UpdatePool> updates_;
  const std::shared_ptr<Diagnostics> diagnostics_;
  const std::shared_ptr<Statistics> statistics_;
  // Where commits go that cannot go into the update (write_update.h).
  std::unique_ptr<DeviceMemory> device_update_;
  // Of a durable session on such a device; null: the file is its memory.
  std::shared_ptr<VectorMirror> mirror_;

  mutable absl::Mutex mutex_;
  // parts_.options with what was updated since, also what is pending.
  v1::Session current_ ABSL_GUARDED_BY(mutex_);
  std::optional<OperatorOptions> pending_ ABSL_GUARDED_BY(mutex_);
  absl::Duration round_timeout_ ABSL_GUARDED_BY(mutex_);
  absl::Duration straggler_timeout_ ABSL_GUARDED_BY(mutex_);
  absl::Duration send_timeout_ ABSL_GUARDED_BY(mutex_);
  absl::Duration idle_ttl_ ABSL_GUARDED_BY(mutex_);
  absl::CondVar changed_;  // A round ended, a stream ended, a step committed.
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t committed_step_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time last_used_ ABSL_GUARDED_BY(mutex_);
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // On changed_.
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  int busy_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<RankSlot> ranks_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Round> round_ ABSL_GUARDED_BY(mutex_);  // Null: none is open.
  // Solved and being written; the operator belongs to its commit.
  std::shared_ptr<const SolvedStep> committing_ ABSL_GUARDED_BY(mutex_);
  Committed committed_ ABSL_GUARDED_BY(mutex_);
  // The newest checkpoint that this process has written, and of which epoch.
  std::optional<CheckpointFile> checkpoint_ ABSL_GUARDED_BY(mutex_);
  uint64_t checkpoint_epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  // The newest one that there is, whoever has written it.
  std::optional<CheckpointFile> newest_checkpoint_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_checkpoint_at_ ABSL_GUARDED_BY(mutex_);
  bool checkpoint_asked_for_ ABSL_GUARDED_BY(mutex_) = false;
  bool checkpointing_ ABSL_GUARDED_BY(mutex_) = false;
  // The steps before the committed one, oldest first, at most update_history.
  std::deque<SolvedStep> history_ ABSL_GUARDED_BY(mutex_);

  mutable absl::Mutex staging_mutex_ ABSL_ACQUIRED_AFTER(mutex_);
  std::unique_ptr<MomentumOperator> operator_
      ABSL_PT_GUARDED_BY(staging_mutex_);
  std::unique_ptr<GatheredRows> gathered_ ABSL_PT_GUARDED_BY(staging_mutex_);
  // Of gathered_'s memory that micro-batches have needed.
  std::vector<std::unique_ptr<MemoryBudget::Reservation>> more_reserved_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_SESSION_H_
