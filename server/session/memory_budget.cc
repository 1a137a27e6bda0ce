#include "server/session/memory_budget.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

// The number in a control group's file; `otherwise` where there is none ("max",
// or no such group).
uint64_t ReadLimit(const char* path, uint64_t otherwise) {
  std::ifstream file(path);
  std::string text;
  uint64_t limit = 0;
  if (!(file >> text) || !absl::SimpleAtoi(text, &limit)) return otherwise;
  return limit;
}

}  // namespace

uint64_t DefaultMemoryBudget() {
  uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                   static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  bytes = std::min(bytes, ReadLimit("/sys/fs/cgroup/memory.max", bytes));
  bytes = std::min(
      bytes, ReadLimit("/sys/fs/cgroup/memory/memory.limit_in_bytes", bytes));
  return bytes / 5 * 4;
}

MemoryBudget::Reservation::Reservation(std::shared_ptr<MemoryBudget> budget,
                                       uint64_t bytes)
    : budget_(std::move(budget)), bytes_(bytes) {}

MemoryBudget::Reservation::~Reservation() {
  absl::MutexLock lock(&budget_->mutex_);
  budget_->reserved_ -= bytes_;
}

std::shared_ptr<MemoryBudget> MemoryBudget::Make(uint64_t budget_bytes) {
  return std::shared_ptr<MemoryBudget>(new MemoryBudget(budget_bytes));
}

absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>>
MemoryBudget::Reserve(uint64_t bytes) {
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t free = budget_ - reserved_;
    if (bytes > free) {
      const std::string accepted = absl::StrCat(free);
      return MakeError(absl::StatusCode::kResourceExhausted,
                       {"LIMIT_EXCEEDED",
                        "memory_budget_bytes",
                        absl::StrCat(bytes),
                        absl::StrCat("at most ", free,
                                     " bytes, which are free of ", budget_),
                        {{"limit", "memory_budget_bytes"},
                         {"value", absl::StrCat(bytes)},
                         {"accepted", accepted}}});
    }
    reserved_ += bytes;
  }
  return std::make_unique<Reservation>(shared_from_this(), bytes);
}

uint64_t MemoryBudget::reserved_bytes() const {
  absl::MutexLock lock(&mutex_);
  return reserved_;
}

}  // namespace concord
