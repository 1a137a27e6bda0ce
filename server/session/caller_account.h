// What each caller of a server uses of it, and how much of that he may: so that
// one job cannot take everything from the others. Who a caller is, is for the
// rpc room to say: the name of his token or certificate, else his address.
//
// Errors are RESOURCE_EXHAUSTED, LIMIT_EXCEEDED with metadata limit (a name of
// concord.v1.ServerInfo), value and accepted; where waiting alone helps, also
// retry_delay, a duration such as "250ms".
//
// Threads: safe.
#ifndef CONCORD_SERVER_SESSION_CALLER_ACCOUNT_H_
#define CONCORD_SERVER_SESSION_CALLER_ACCOUNT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/session/clock.h"
#include "server/session/limits.h"
#include "server/session/memory_budget.h"

namespace concord {

class CallerAccount : public std::enable_shared_from_this<CallerAccount> {
 public:
  // One stream or session that counts, until it is destroyed.
  class Use {
   public:
    Use(std::shared_ptr<CallerAccount> account, uint32_t CallerAccount::*count);
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use();

   private:
    const std::shared_ptr<CallerAccount> account_;
    uint32_t CallerAccount::*const count_;
  };

  // `memory`: what the caller's sessions and combinations reserve.
  CallerAccount(std::string name, std::shared_ptr<MemoryBudget> memory,
                const Clock* clock);

  const std::string& name() const { return name_; }
  const std::shared_ptr<MemoryBudget>& memory() const { return memory_; }

  // max_streams_per_caller, max_sessions_per_caller.
  absl::StatusOr<std::unique_ptr<Use>> AddStream();
  absl::StatusOr<std::unique_ptr<Use>> AddSession();
  // Of one that was there before: counts though it be one too many.
  std::unique_ptr<Use> AddStoredSession();

  // Takes a step from the bucket, which holds as many as may come in a second
  // (one at least) and fills at the rate. max_step_rate_per_caller, with
  // retry_delay.
  absl::Status TakeStep();

 private:
  friend class CallerAccounts;

  absl::StatusOr<std::unique_ptr<Use>> Add(uint32_t CallerAccount::*count,
                                           uint32_t most, const char* limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetLimits(const CallerLimits& limits);
  void FillBucket() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing is lost with it: no use, and a full bucket.
  bool IsIdle();

  const std::string name_;
  const std::shared_ptr<MemoryBudget> memory_;
  const Clock* const clock_;
  absl::Mutex mutex_;
  CallerLimits limits_ ABSL_GUARDED_BY(mutex_);
  uint32_t streams_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t sessions_ ABSL_GUARDED_BY(mutex_) = 0;
  double steps_ ABSL_GUARDED_BY(mutex_) = 0;  // In the bucket.
  absl::Time filled_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

// All callers of a server that use anything of it.
class CallerAccounts {
 public:
  // `defaults`: of callers without limits of their own. `all` is the server's
  // memory; `clock` is not owned.
  CallerAccounts(const CallerLimits& defaults,
                 std::shared_ptr<MemoryBudget> all, const Clock* clock);

  // His account, with what is set of `limits`, and else the defaults, from now
  // on.
  std::shared_ptr<CallerAccount> Find(absl::string_view name,
                                      const CallerLimits& limits);
  // The same with the limits that he has.
  std::shared_ptr<CallerAccount> Find(absl::string_view name);

  size_t size() const;

 private:
  std::shared_ptr<CallerAccount> FindLocked(absl::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CallerLimits defaults_;
  const std::shared_ptr<MemoryBudget> all_;
  const Clock* const clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<CallerAccount>, std::less<>> accounts_
      ABSL_GUARDED_BY(mutex_);
  // Idle accounts are looked for when there are so many.
  size_t clean_at_ ABSL_GUARDED_BY(mutex_) = 64;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_CALLER_ACCOUNT_H_
