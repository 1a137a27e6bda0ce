#include "server/session/memory_budget.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/kernels/machine_memory.h"

namespace concord {

uint64_t DefaultMemoryBudget() {
  return ReadMachineMemory().total_bytes / 5 * 4;
}

MemoryBudget::Reservation::Reservation(std::shared_ptr<MemoryBudget> budget,
                                       uint64_t bytes,
                                       std::unique_ptr<Reservation> of_all)
    : budget_(std::move(budget)), bytes_(bytes), of_all_(std::move(of_all)) {}

MemoryBudget::Reservation::~Reservation() {
  absl::MutexLock lock(&budget_->mutex_);
  budget_->reserved_ -= bytes_;
}

std::shared_ptr<MemoryBudget> MemoryBudget::Make(uint64_t budget_bytes) {
  return MakeWithin(nullptr, "memory_budget_bytes", budget_bytes);
}

std::shared_ptr<MemoryBudget> MemoryBudget::MakeWithin(
    std::shared_ptr<MemoryBudget> all, std::string limit,
    uint64_t budget_bytes) {
  return std::shared_ptr<MemoryBudget>(
      new MemoryBudget(std::move(all), std::move(limit), budget_bytes));
}

absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>>
MemoryBudget::Reserve(uint64_t bytes) {
  return Take(bytes, /*beyond=*/false);
}

absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>>
MemoryBudget::ReserveBeyond(uint64_t bytes) {
  return Take(bytes, /*beyond=*/true);
}

absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>> MemoryBudget::Take(
    uint64_t bytes, bool beyond) {
  std::unique_ptr<Reservation> of_all;
  if (all_ != nullptr) {
    absl::StatusOr<std::unique_ptr<Reservation>> taken = all_->Reserve(bytes);
    if (!taken.ok()) return taken.status();
    of_all = *std::move(taken);
  }
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t free = budget_ > reserved_ ? budget_ - reserved_ : 0;
    if (bytes > free && (all_ == nullptr || !beyond)) {
      return MakeError(absl::StatusCode::kResourceExhausted,
                       {"LIMIT_EXCEEDED",
                        limit_,
                        absl::StrCat(bytes),
                        absl::StrCat("at most ", free,
                                     " bytes, which are free of ", budget_),
                        {{"limit", limit_},
                         {"value", absl::StrCat(bytes)},
                         {"accepted", absl::StrCat(free)}}});
    }
    reserved_ += bytes;
  }
  return std::make_unique<Reservation>(shared_from_this(), bytes,
                                       std::move(of_all));
}

void MemoryBudget::set_budget_bytes(uint64_t budget_bytes) {
  absl::MutexLock lock(&mutex_);
  budget_ = budget_bytes;
}

uint64_t MemoryBudget::reserved_bytes() const {
  absl::MutexLock lock(&mutex_);
  return reserved_;
}

}  // namespace concord
