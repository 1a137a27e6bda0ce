// Bytes that a server may reserve for vectors, shared by sessions and
// combinations. Threads: safe.
#ifndef CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_
#define CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <memory>

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
    Reservation(std::shared_ptr<MemoryBudget> budget, uint64_t bytes);
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation();
    uint64_t bytes() const { return bytes_; }

   private:
    const std::shared_ptr<MemoryBudget> budget_;
    const uint64_t bytes_;
  };

  static std::shared_ptr<MemoryBudget> Make(uint64_t budget_bytes);

  // RESOURCE_EXHAUSTED, LIMIT_EXCEEDED (memory_budget_bytes) when less is free.
  absl::StatusOr<std::unique_ptr<Reservation>> Reserve(uint64_t bytes);

  uint64_t reserved_bytes() const;

 private:
  explicit MemoryBudget(uint64_t budget_bytes) : budget_(budget_bytes) {}

  const uint64_t budget_;
  mutable absl::Mutex mutex_;
  uint64_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_MEMORY_BUDGET_H_
