// All sessions of a server, and the limits that they share.
//
// A session's memory is reserved against the budget before any of it is
// allocated. Sessions that nobody uses are deleted by ReapIdle, which the
// server's main calls now and then.
//
// Errors: RESOURCE_EXHAUSTED, LIMIT_EXCEEDED with metadata limit (its name as
// in ServerInfo), value, accepted; UNAVAILABLE, DRAINING once Drain was called;
// NOT_FOUND, SESSION_NOT_FOUND; INVALID_ARGUMENT naming the field.
//
// Threads: safe. The registry outlives all streams and calls that came from it.
#ifndef CONCORD_SERVER_SESSION_REGISTRY_H_
#define CONCORD_SERVER_SESSION_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "concord/v1/checkpoint.pb.h"
#include "concord/v1/combine.pb.h"
#include "concord/v1/server_info.pb.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/statistics.pb.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/kernels.h"
#include "server/session/caller_account.h"
#include "server/session/clock.h"
#include "server/session/combine_call.h"
#include "server/session/committer.h"
#include "server/session/limits.h"
#include "server/session/memory_budget.h"
#include "server/session/phase.h"
#include "server/session/rank_stream.h"
#include "server/session/session.h"
#include "server/storage/state_directory.h"

namespace concord {

class SessionRegistry {
 public:
  struct Options {
    std::shared_ptr<Kernels> kernels;
    Limits limits;
    const Clock* clock = Clock::Real();
    int committer_threads = 2;  // Long commits that run at the same time.
    // Where durable sessions are kept; null: nowhere. Outlives the registry.
    const StateDirectory* storage = nullptr;
    // Told of every checkpoint that was taken by a session's policy, on any
    // thread. Null: nobody.
    std::function<void(const std::string& session, const absl::Status& status)>
        on_checkpoint;
    // Told of every committed step of all sessions, on any thread, with a lock
    // held: quick. Null: nobody.
    CommitHook on_commit;
    PhaseHook phase;  // For tests.
  };

  explicit SessionRegistry(Options options);
  ~SessionRegistry();

  // Takes up the sessions that the state directory has from before; to be
  // called once, before all else. Those that cannot be used are kept aside:
  // every call that names one gets the status, but for Delete.
  struct TakenUp {
    std::string name;
    absl::Status status;
    uint64_t committed_step = 0;
  };
  std::vector<TakenUp> TakeUpStored();

  // ALREADY_EXISTS, SESSION_EXISTS where the name is taken: metadata "uid",
  // and "field", "value", "existing" when an option differs.
  // `owner`: of the new session, as Session.owner.
  // `account`: who is billed for it, unless null; refuses what is beyond his
  // limits.
  absl::StatusOr<v1::Session> Create(
      const v1::CreateSessionRequest& request, absl::string_view owner = "",
      const std::shared_ptr<CallerAccount>& account = nullptr);

  // `name` is "sessions/{id}".
  absl::StatusOr<std::shared_ptr<Session>> Get(absl::string_view name);
  absl::StatusOr<v1::ListSessionsResponse> List(
      const v1::ListSessionsRequest& request) const;

  // Changes options between two steps; see session.proto.
  absl::StatusOr<v1::Session> Update(const v1::UpdateSessionRequest& request);

  // Makes a layout the session's (registry_layout.cc); see session.proto. Waits
  // for answers that are being sent, for the session's send_timeout at most.
  absl::StatusOr<v1::Session> UpdateLayout(
      const v1::UpdateLayoutRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the session's streams (SESSION_NOT_FOUND). Its memory is free when the
  // last of them has let go.
  absl::Status Delete(const v1::DeleteSessionRequest& request);

  // ---- Checkpoints (registry_checkpoints.cc); errors as checkpoint.proto
  // says.
  absl::StatusOr<v1::Checkpoint> CreateCheckpoint(
      const v1::CreateCheckpointRequest& request);
  absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
      const v1::ListCheckpointsRequest& request) const;
  absl::StatusOr<v1::Session> Restore(const v1::RestoreSessionRequest& request);
  absl::StatusOr<SessionSnapshot> Snapshot(
      const v1::ExportSessionRequest& request);
  // `file`: a whole checkpoint.
  absl::StatusOr<v1::Session> Import(
      const v1::ImportSessionRequest::Target& target,
      absl::Span<const std::byte> file);
  // The longest file that Import would take for this session.
  absl::StatusOr<uint64_t> LargestImport(
      const v1::ImportSessionRequest::Target& target);

  // Finds the session of `join` and joins it; see Session::Join.
  absl::StatusOr<std::unique_ptr<RankStream>> Join(
      const v1::Join& join,
      std::function<void(const absl::Status& reason)> cancel_stream);

  // `account`: as Create's.
  absl::StatusOr<std::unique_ptr<CombineCall>> StartCombine(
      const v1::CombineHeader& header,
      const std::shared_ptr<CallerAccount>& account = nullptr);

  // Of all sessions, or of the one of that name: what was counted, by name.
  // SESSION_NOT_FOUND; one that was put away is not brought back for it.
  absl::StatusOr<std::vector<v1::SessionStatistics>> ReadStatistics(
      absl::string_view name = "") const;

  // Who uses the server, with the limits of `Limits::per_caller`.
  CallerAccounts& callers() { return callers_; }

  absl::Time Now() const { return options_.clock->Now(); }

  // Deletes sessions that were idle for their idle_ttl and fails rounds that
  // are past their deadline; returns the names of what it deleted. A session
  // whose steps are kept is put away to the disk instead: its memory is free,
  // and it is back when it is asked for.
  std::vector<std::string> ReapIdle();

  // Refuses new sessions, joins, combinations and rounds from now on, cancels
  // streams that have nothing under way, waits until open rounds are answered
  // or `deadline` (of the clock) has come, then cancels the rest. In the time
  // that is left sessions whose steps are kept are written out and marked as
  // clean.
  void Drain(absl::Time deadline);

  // Device, methods, limits and use; not `version` and `streams`.
  void Describe(v1::ServerInfo* info) const;

  const Limits& limits() const { return options_.limits; }

 private:
  absl::Status CheckOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The session of this name, from the disk where it was put away.
  absl::StatusOr<std::shared_ptr<Session>> Find(absl::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<Session>> FindCreation(absl::string_view name,
                                                        absl::string_view uid)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<v1::Session> RestoreFrom(absl::string_view checkpoint,
                                          Session* session) const;
  void AwaitNoChange(absl::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<v1::Session> ChangeLayout(
      const std::shared_ptr<Session>& session,
      const v1::UpdateLayoutRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);
  // The error that says why a stored session cannot be used, with what can.
  absl::Status WithCheckpoint(const absl::Status& status,
                              const std::string& id) const;
  absl::StatusOr<std::shared_ptr<Session>> TakeUp(const std::string& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reserves memory and makes the session of `options`, new or as stored, or
  // to take the place of `replaced`, whose state file is still the valid one.
  absl::StatusOr<std::shared_ptr<Session>> Make(
      v1::Session options, const std::shared_ptr<CallerAccount>& account,
      std::shared_ptr<StateFile> state, std::optional<state::Record> stored,
      const Session* replaced = nullptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsTaken(const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Marks a closed session's file as clean, if there is time.
  absl::Status PutAway(Session* session, absl::Time deadline) const;

  const Options options_;
  const std::shared_ptr<MemoryBudget> budget_;
  CallerAccounts callers_;
  mutable absl::Mutex mutex_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Session>, std::less<>> sessions_
      ABSL_GUARDED_BY(mutex_);
  // Names of sessions whose layout is being changed: another such change, and
  // their deletion, wait until it is done, as their files are being replaced.
  std::set<std::string, std::less<>> changing_ ABSL_GUARDED_BY(mutex_);
  // Why sessions that are stored cannot be used, by name.
  std::map<std::string, absl::Status, std::less<>> unusable_
      ABSL_GUARDED_BY(mutex_);

  // Last, so that commits under way end before sessions go.
  CommitterPool committers_;
  CommitterPool checkpointers_;  // One at a time: they share a disk.
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_REGISTRY_H_
