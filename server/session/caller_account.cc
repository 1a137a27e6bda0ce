#include "server/session/caller_account.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/wire/retry_delay.h"

namespace concord {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

absl::Status Exceeded(const std::string& caller, const char* limit,
                      std::string value, std::string accepted,
                      absl::Duration retry_delay = absl::ZeroDuration()) {
  std::string explanation =
      absl::StrCat("\"", caller, "\" may have no more (", limit, ")");
  ErrorDetail detail{"LIMIT_EXCEEDED",
                     "",
                     std::move(value),
                     std::move(accepted),
                     {{"limit", limit}, {"caller", caller}}};
  if (retry_delay > absl::ZeroDuration()) {
    const std::string delay = absl::FormatDuration(retry_delay);
    absl::StrAppend(&explanation, " for ", delay);
    detail.metadata.emplace_back(kRetryDelay, delay);
  }
  return MakeError(absl::StatusCode::kResourceExhausted, std::move(detail),
                   explanation);
}

// How many steps may come at once.
double Burst(double rate) { return std::max(1.0, rate); }

}  // namespace

CallerAccount::Use::Use(std::shared_ptr<CallerAccount> account,
                        uint32_t CallerAccount::*count)
    : account_(std::move(account)), count_(count) {}

CallerAccount::Use::~Use() {
  absl::MutexLock lock(&account_->mutex_);
  --(account_.get()->*count_);
}

CallerAccount::CallerAccount(std::string name,
                             std::shared_ptr<MemoryBudget> memory,
                             const Clock* clock)
    : name_(std::move(name)), memory_(std::move(memory)), clock_(clock) {}

absl::StatusOr<std::unique_ptr<CallerAccount::Use>> CallerAccount::Add(
    uint32_t CallerAccount::*count, uint32_t most, const char* limit) {
  if (most != 0 && this->*count >= most) {
    return Exceeded(name_, limit, absl::StrCat(this->*count + 1),
                    absl::StrCat(most));
  }
  ++(this->*count);
  return std::make_unique<Use>(shared_from_this(), count);
}

absl::StatusOr<std::unique_ptr<CallerAccount::Use>> CallerAccount::AddStream() {
  absl::MutexLock lock(&mutex_);
  return Add(&CallerAccount::streams_, limits_.max_streams.value_or(0),
             "max_streams_per_caller");
}

absl::StatusOr<std::unique_ptr<CallerAccount::Use>>
CallerAccount::AddSession() {
  absl::MutexLock lock(&mutex_);
  return Add(&CallerAccount::sessions_, limits_.max_sessions.value_or(0),
             "max_sessions_per_caller");
}

std::unique_ptr<CallerAccount::Use> CallerAccount::AddStoredSession() {
  absl::MutexLock lock(&mutex_);
  ++sessions_;
  return std::make_unique<Use>(shared_from_this(), &CallerAccount::sessions_);
}

void CallerAccount::FillBucket() {
  const double rate = limits_.max_step_rate.value_or(0);
  const absl::Time now = clock_->Now();
  // At first it is full.
  steps_ = filled_at_ == absl::InfinitePast()
               ? Burst(rate)
               : steps_ + absl::ToDoubleSeconds(now - filled_at_) * rate;
  steps_ = std::min(steps_, Burst(rate));
  filled_at_ = now;
}

absl::Status CallerAccount::TakeStep() {
  absl::MutexLock lock(&mutex_);
  const double rate = limits_.max_step_rate.value_or(0);
  if (rate == 0) return absl::OkStatus();
  FillBucket();
  constexpr double kRounding = 1e-9;
  if (steps_ >= 1 - kRounding) {
    --steps_;
    return absl::OkStatus();
  }
  return Exceeded(
      name_, "max_step_rate_per_caller",
      absl::StrCat("more than ", rate, " a second"),
      absl::StrCat(rate, " a second"),
      absl::Ceil(absl::Seconds((1 - steps_) / rate), absl::Milliseconds(1)));
}

void CallerAccount::SetLimits(const CallerLimits& limits) {
  const uint64_t bytes = limits.memory_budget_bytes.value_or(0);
  memory_->set_budget_bytes(bytes == 0 ? kUnlimited : bytes);
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
}

bool CallerAccount::IsIdle() {
  if (memory_->reserved_bytes() > 0) return false;
  absl::MutexLock lock(&mutex_);
  if (streams_ > 0 || sessions_ > 0) return false;
  FillBucket();
  return steps_ >= Burst(limits_.max_step_rate.value_or(0));
}

CallerAccounts::CallerAccounts(const CallerLimits& defaults,
                               std::shared_ptr<MemoryBudget> all,
                               const Clock* clock)
    : defaults_(defaults), all_(std::move(all)), clock_(clock) {}

std::shared_ptr<CallerAccount> CallerAccounts::FindLocked(
    absl::string_view name) {
  const auto found = accounts_.find(name);
  if (found != accounts_.end()) return found->second;
  if (accounts_.size() >= clean_at_) {
    for (auto it = accounts_.begin(); it != accounts_.end();) {
      // Under the lock nobody finds one, so that nobody begins to use it.
      const bool drop = it->second.use_count() == 1 && it->second->IsIdle();
      it = drop ? accounts_.erase(it) : std::next(it);
    }
    clean_at_ = std::max<size_t>(64, 2 * accounts_.size());
  }
  auto account = std::make_shared<CallerAccount>(
      std::string(name),
      MemoryBudget::MakeWithin(all_, "memory_budget_per_caller_bytes",
                               kUnlimited),
      clock_);
  account->SetLimits(defaults_);
  accounts_.emplace(name, account);
  return account;
}

std::shared_ptr<CallerAccount> CallerAccounts::Find(absl::string_view name) {
  absl::MutexLock lock(&mutex_);
  return FindLocked(name);
}

std::shared_ptr<CallerAccount> CallerAccounts::Find(
    absl::string_view name, const CallerLimits& limits) {
  CallerLimits merged = limits;
  const auto fill = [](auto* to, const auto& otherwise) {
    if (!to->has_value()) *to = otherwise;
  };
  fill(&merged.max_streams, defaults_.max_streams);
  fill(&merged.max_sessions, defaults_.max_sessions);
  fill(&merged.memory_budget_bytes, defaults_.memory_budget_bytes);
  fill(&merged.max_step_rate, defaults_.max_step_rate);
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<CallerAccount> account = FindLocked(name);
  account->SetLimits(merged);
  return account;
}

size_t CallerAccounts::size() const {
  absl::MutexLock lock(&mutex_);
  return accounts_.size();
}

}  // namespace concord
