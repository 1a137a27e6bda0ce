// The contract of a session (step.proto, session.proto, checkpoint.proto), of
// vectors at one rank each and without micro-batches, written down plainly:
// what every request must be answered with. The oracle of the model check.
// Shares nothing with the server: no locks, no bytes, no files, M-ConFIG in
// float64 over whole vectors.
#ifndef CONCORD_TESTS_SERVER_SESSION_REFERENCE_MODEL_H_
#define CONCORD_TESTS_SERVER_SESSION_REFERENCE_MODEL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "Eigen/Core"
#include "absl/time/time.h"
#include "tests/operators/plain_momentum.h"

namespace concord {

class ReferenceModel {
 public:
  enum class Keeps { kNothing, kCheckpoints, kSteps };
  struct Options {
    int num_vectors = 0;
    Eigen::Index num_parameters = 0;
    uint32_t num_workers = 0;
    uint32_t min_workers = 0;  // 0: all.
    absl::Duration round_timeout, straggler_timeout;
    size_t update_history = 0;
    size_t keep_checkpoints = 0;
    Keeps keeps = Keeps::kSteps;
  };

  // A committed step and the state after it. Step 0: the empty state.
  struct Commit {
    uint64_t step = 0;
    std::map<uint32_t, std::set<int>> contributors;  // Rank -> losses.
    Eigen::VectorXd update;
    std::shared_ptr<const PlainMomentum> momentum;
  };

  // What a request must be answered with: one of `reasons`. "OK", "WAITS" (for
  // other ranks) or an error's reason.
  struct Expected {
    std::set<std::string> reasons;
    // With OK, of a step's answer.
    std::shared_ptr<const Commit> commit = nullptr;
    bool repeated = false;
    bool dropped = false;
  };

  struct JoinRequest {
    uint32_t rank = 0;
    uint64_t incarnation = 0;
    std::string uid;     // Empty: any.
    uint64_t epoch = 0;  // 0: any.
    std::optional<uint64_t> resume_step;
  };
  struct Header {
    uint64_t step = 0;
    uint32_t attempt = 0;
    uint64_t epoch = 0;
    std::map<int, Eigen::VectorXd> gradients;  // By loss.
  };

  explicit ReferenceModel(const Options& options) : options_(options) {}

  // `uid`: what the server gave it, if it made one.
  Expected Create(const std::string& uid);
  Expected Delete(const std::string& uid);

  // `stream`: the caller's number for it, never used before. An error of any of
  // the calls that name a stream ends it: the caller then calls Close.
  Expected Join(int stream, const JoinRequest& join);
  Expected Begin(int stream, const Header& header);
  // A part of the announced bytes is sent.
  Expected SendPart(int stream) const;
  // The rest is sent and the answer asked for; again, after WAITS.
  Expected Finish(int stream);
  Expected Leave(int stream);
  void Close(int stream);

  // Time goes on, and somebody looks at the session.
  void Advance(absl::Duration duration);

  Expected TakeCheckpoint();
  // nullopt: the newest. `uid` as with Create: a session that is gone begins
  // anew.
  Expected Restore(std::optional<uint64_t> step, const std::string& uid);

  // The server's end and its next start; no stream is left. After a crash what
  // is there is the last record, or, when it came before that was the valid
  // one, the record before it.
  void RestartCleanly();
  void Crash(bool before_last_commit);

  // ---- Where it is now ----
  bool exists() const { return exists_; }
  const std::string& uid() const { return uid_; }
  uint64_t epoch() const { return epoch_; }
  uint64_t committed_step() const { return committed_->step; }
  bool round_is_open() const { return round_ != nullptr; }
  // Whether the server has ended it: with its cancel callback.
  bool HasEnded(int stream) const { return !streams_.at(stream).ended.empty(); }
  std::set<uint32_t> Absent() const;
  std::set<uint64_t> Checkpoints() const;
  // Of the rank: its newest incarnation, those before it, its last header.
  struct Rank {
    uint64_t incarnation = 0;
    std::vector<uint64_t> replaced;
    bool absent = false;
    int stream = -1;
    uint64_t step = 0;
    uint32_t attempt = 0;
  };
  const Rank& rank(uint32_t rank) const { return ranks_[rank]; }

 private:
  struct Contribution {
    int stream = -1;
    std::map<int, Eigen::VectorXd> gradients;
    bool complete = false;
  };
  struct Round {
    uint64_t step = 0;
    absl::Duration deadline;
    absl::Duration quorum_at = absl::InfiniteDuration();
    std::map<uint32_t, Contribution> contributions;  // By rank.
    // The end: one of the two.
    std::shared_ptr<const Commit> solved;
    std::string failed;
  };
  struct Stream {
    uint32_t rank = 0;
    std::string ended;  // Why; empty: it has not.
    bool busy = false;
    std::shared_ptr<Round> round;          // Null: `replay`.
    std::shared_ptr<const Commit> replay;  // Committed when the header came.
  };
  // What a crash leaves.
  struct Record {
    uint64_t epoch = 0;
    std::shared_ptr<const Commit> committed;
    std::vector<Rank> ranks;
  };

  void Start(std::shared_ptr<const Commit> state, uint64_t epoch);
  void TakeUp(const Record& record);
  void Keep();
  void End(int stream, const std::string& reason);
  void Withdraw(int stream);
  void FailRound(const std::string& reason);
  void Settle();
  void Solve();
  // Null: its update is gone.
  std::shared_ptr<const Commit> Find(uint64_t step) const;
  size_t NumComplete() const;

  const Options options_;
  bool exists_ = false;
  std::string uid_;
  uint64_t epoch_ = 0;
  std::shared_ptr<const Commit> committed_ = std::make_shared<Commit>();
  std::vector<Rank> ranks_;
  std::shared_ptr<Round> round_;
  std::map<int, Stream> streams_;
  absl::Duration now_;
  std::deque<std::shared_ptr<const Commit>> history_;
  bool in_memory_ = false;  // The committed update, not only its state.
  std::vector<std::shared_ptr<const Commit>> checkpoints_;  // Oldest first.
  bool has_checkpoint_ = false;  // The committed step, by this server.
  Record last_, before_last_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_SESSION_REFERENCE_MODEL_H_
