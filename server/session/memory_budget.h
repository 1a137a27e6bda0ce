// Bytes that may be reserved for vectors: of a server as a whole, shared by
// sessions and combinations, and of one caller within it. Threads: safe.
#ifndef CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_
#define CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace concord {

// 4/5 of what this process may use: the machine's memory, or its control
// group's limit where that is lower.
uint64_t DefaultMemoryBudget();

class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  // Gives its bytes back when destroyed.
  class Reservation {
   public:
    Reservation(std::shared_ptr<MemoryBudget> budget, uint64_t bytes,
                std::unique_ptr<Reservation> of_all);
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation();
    uint64_t bytes() const { return bytes_; }

   private:
    const std::shared_ptr<MemoryBudget> budget_;
    const uint64_t bytes_;
    const std::unique_ptr<Reservation> of_all_;  // Null: there is no `all`.
  };

  static std::shared_ptr<MemoryBudget> Make(uint64_t budget_bytes);

  // A part of `all`: what is reserved here is reserved there, too. `limit` is
  // what errors call this one.
  static std::shared_ptr<MemoryBudget> MakeWithin(
      std::shared_ptr<MemoryBudget> all, std::string limit,
      uint64_t budget_bytes);

  // RESOURCE_EXHAUSTED, LIMIT_EXCEEDED (memory_budget_bytes, or the `limit`)
  // when less is free.
  absl::StatusOr<std::unique_ptr<Reservation>> Reserve(uint64_t bytes);

  // The same though it be more than a caller has free: `all` alone may refuse.
  // Of what was there before.
  absl::StatusOr<std::unique_ptr<Reservation>> ReserveBeyond(uint64_t bytes);

  // From now on; what is reserved stays.
  void set_budget_bytes(uint64_t budget_bytes);

  uint64_t reserved_bytes() const;

 private:
  MemoryBudget(std::shared_ptr<MemoryBudget> all, std::string limit,
               uint64_t budget_bytes)
      : all_(std::move(all)), limit_(std::move(limit)), budget_(budget_bytes) {}
  absl::StatusOr<std::unique_ptr<Reservation>> Take(uint64_t bytes,
                                                    bool beyond);

  const std::shared_ptr<MemoryBudget> all_;  // Null: this is all.
  const std::string limit_;
  mutable absl::Mutex mutex_;
  uint64_t budget_ ABSL_GUARDED_BY(mutex_);
  uint64_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_
