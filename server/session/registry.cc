#include "server/session/registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "operators/combine/combiner.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/losses/loss_recorder.h"
#include "operators/momentum/momentum_operator.h"
#include "server/session/messages.h"
#include "server/session/options.h"

namespace concord {
namespace {

constexpr absl::string_view kPrefix = "sessions/";
constexpr uint32_t kDefaultPage = 100;
constexpr uint32_t kLargestPage = 1000;

absl::Status NotFound(absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, {"SESSION_NOT_FOUND",
                                                 "name",
                                                 std::string(name),
                                                 "the name of a session",
                                                 {}});
}

absl::Status Exists(const Session& existing, const v1::Session& wanted,
                    const v1::Session& present) {
  // Without a field: the options agree, and a client may take the session.
  ErrorDetail detail{"SESSION_EXISTS", "", "", "", {{"uid", existing.uid()}}};
  const std::optional<Difference> difference = FirstDifference(wanted, present);
  std::string explanation =
      absl::StrCat(existing.name(), " exists; its options agree");
  if (difference.has_value()) {
    detail.field = difference->field;
    detail.value = difference->left;
    detail.accepted = difference->right;
    detail.metadata.insert(detail.metadata.end(),
                           {{"field", difference->field},
                            {"value", difference->left},
                            {"existing", difference->right}});
    explanation = absl::StrCat(existing.name(), " exists with other options");
  }
  return MakeError(absl::StatusCode::kAlreadyExists, std::move(detail),
                   explanation);
}

}  // namespace

SessionRegistry::SessionRegistry(Options options)
    : options_(std::move(options)),
      budget_(MemoryBudget::Make(options_.limits.memory_budget_bytes)),
      committers_(options_.committer_threads) {}

SessionRegistry::~SessionRegistry() = default;

absl::Status SessionRegistry::CheckOpen() const {
  if (!draining_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, {"DRAINING", "", "", "", {}},
                   "the server is shutting down");
}

absl::StatusOr<v1::Session> SessionRegistry::Create(
    const v1::CreateSessionRequest& request) {
  if (!request.session_id().empty() && !IsSessionId(request.session_id())) {
    return InvalidField("INVALID_OPTION", "session_id", request.session_id(),
                        "[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?");
  }
  absl::StatusOr<v1::Session> normalized =
      NormalizeSession(request.session(), options_.limits);
  if (!normalized.ok()) return normalized.status();
  const absl::StatusOr<uint64_t> bytes = ReservedBytes(
      ToOperatorOptions(*normalized), options_.kernels->host_accessible(),
      normalized->update_history(), GatheredVectors(*normalized));
  if (!bytes.ok()) return bytes.status();

  absl::MutexLock lock(&mutex_);
  const absl::Status open = CheckOpen();
  if (!open.ok()) return open;
  std::string name = absl::StrCat(kPrefix, request.session_id());
  while (request.session_id().empty() &&
         (name == kPrefix || sessions_.contains(name))) {
    name = absl::StrFormat("%s%012x", kPrefix,
                           absl::Uniform<uint64_t>(random_, 0, 1ull << 48));
  }
  if (const auto found = sessions_.find(name); found != sessions_.end()) {
    const absl::StatusOr<v1::Session> present =
        NormalizeSession(found->second->options(), options_.limits);
    if (!present.ok()) return present.status();
    return Exists(*found->second, *normalized, *present);
  }
  const uint32_t most = options_.limits.max_sessions;
  if (sessions_.size() >= most) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     {"LIMIT_EXCEEDED",
                      "max_sessions",
                      absl::StrCat(sessions_.size() + 1),
                      absl::StrCat("at most ", most),
                      {{"limit", "max_sessions"},
                       {"value", absl::StrCat(sessions_.size() + 1)},
                       {"accepted", absl::StrCat(most)}}});
  }
  absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>> reservation =
      budget_->Reserve(*bytes);
  if (!reservation.ok()) return reservation.status();

  Session::Parts parts;
  parts.options = *std::move(normalized);
  parts.options.set_name(name);
  parts.options.set_uid(absl::StrFormat("%016x%016x",
                                        absl::Uniform<uint64_t>(random_),
                                        absl::Uniform<uint64_t>(random_)));
  parts.options.set_epoch(1);
  parts.options.set_memory_bytes(*bytes);
  parts.options.set_device(options_.kernels->device());
  *parts.options.mutable_create_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(options_.clock->Now()));
  parts.kernels = options_.kernels;
  parts.committers = &committers_;
  parts.reservation = *std::move(reservation);
  parts.budget = budget_;
  parts.clock = options_.clock;
  parts.max_chunk_bytes = options_.limits.max_chunk_bytes;
  absl::StatusOr<std::shared_ptr<Session>> session =
      Session::Create(std::move(parts));
  if (!session.ok()) return session.status();
  sessions_.emplace(name, *session);
  return (*session)->Describe();
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Get(
    absl::string_view name) const {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = sessions_.find(name);
    if (found == sessions_.end()) return NotFound(name);
    session = found->second;
  }
  session->Touch();
  return session;
}

absl::StatusOr<v1::ListSessionsResponse> SessionRegistry::List(
    const v1::ListSessionsRequest& request) const {
  const uint32_t page = request.page_size() == 0
                            ? kDefaultPage
                            : std::min(request.page_size(), kLargestPage);
  v1::ListSessionsResponse response;
  absl::MutexLock lock(&mutex_);
  // A token is the last name of the page before.
  auto next = request.page_token().empty()
                  ? sessions_.begin()
                  : sessions_.upper_bound(request.page_token());
  for (uint32_t i = 0; i < page && next != sessions_.end(); ++i, ++next) {
    *response.add_sessions() = next->second->Describe();
  }
  if (next != sessions_.end()) {
    response.set_next_page_token(std::prev(next)->first);
  }
  return response;
}

absl::StatusOr<v1::Session> SessionRegistry::Update(
    const v1::UpdateSessionRequest& request) {
  const absl::StatusOr<std::shared_ptr<Session>> session =
      Get(request.session().name());
  if (!session.ok()) return session.status();
  const std::string& uid = (*session)->uid();
  if (!request.uid().empty() && request.uid() != uid) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"SESSION_REPLACED", "uid", request.uid(), uid, {{"uid", uid}}});
  }
  return (*session)->ChangeOptions([&](const v1::Session& current) {
    return MergeUpdate(current, request, options_.limits);
  });
}

absl::Status SessionRegistry::Delete(const v1::DeleteSessionRequest& request) {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = sessions_.find(request.name());
    if (found == sessions_.end()) return NotFound(request.name());
    const std::string& uid = found->second->uid();
    if (!request.uid().empty() && request.uid() != uid) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition,
          {"SESSION_REPLACED", "uid", request.uid(), uid, {{"uid", uid}}});
    }
    session = std::move(found->second);
    sessions_.erase(found);
  }
  session->Close(NotFound(request.name()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RankStream>> SessionRegistry::Join(
    const v1::Join& join,
    std::function<void(const absl::Status& reason)> cancel_stream) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Get(join.session());
  if (!session.ok()) return session.status();
  return (*session)->Join(join, std::move(cancel_stream));
}

absl::StatusOr<std::unique_ptr<CombineCall>> SessionRegistry::StartCombine(
    const v1::CombineHeader& header) {
  {
    absl::MutexLock lock(&mutex_);
    const absl::Status open = CheckOpen();
    if (!open.ok()) return open;
  }
  return CombineCall::Start(header, {&options_.limits, options_.kernels,
                                     budget_.get(), &committers_});
}

std::vector<std::string> SessionRegistry::ReapIdle() {
  std::vector<std::shared_ptr<Session>> idle;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      if (it->second->Reap()) {
        idle.push_back(std::move(it->second));
        it = sessions_.erase(it);
      } else {
        ++it;
      }
    }
  }
  std::vector<std::string> names;
  for (const std::shared_ptr<Session>& session : idle) {
    session->Close(NotFound(session->name()));
    names.push_back(session->name());
  }
  return names;
}

void SessionRegistry::Drain(absl::Time deadline) {
  std::vector<std::shared_ptr<Session>> sessions;
  absl::Status reason;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    reason = CheckOpen();
    for (const auto& [name, session] : sessions_) sessions.push_back(session);
  }
  for (const auto& session : sessions) session->StartDraining();
  for (const auto& session : sessions) session->AwaitQuiet(deadline);
  for (const auto& session : sessions) session->Close(reason);
}

void SessionRegistry::Describe(v1::ServerInfo* info) const {
  info->set_device(options_.kernels->device());
  info->set_threads(options_.kernels->threads());
  for (const std::string& name : CombinerNames()) info->add_combiners(name);
  for (const std::string& name : MomentumOperatorNames()) {
    info->add_momentum_operators(name);
  }
  for (const std::string& name : LossRecorderNames()) {
    info->add_loss_recorders(name);
  }
  info->set_instruction_set(CpuInstructionSet());
  const Limits& limits = options_.limits;
  info->set_max_sessions(limits.max_sessions);
  info->set_max_vectors(limits.max_vectors);
  info->set_max_parameters(limits.max_parameters);
  info->set_max_streams(limits.max_streams);
  info->set_memory_budget_bytes(limits.memory_budget_bytes);
  info->set_memory_reserved_bytes(budget_->reserved_bytes());
  info->set_max_chunk_bytes(limits.max_chunk_bytes);
  FillDuration(limits.default_idle_ttl, info->mutable_default_idle_ttl());
  absl::MutexLock lock(&mutex_);
  info->set_sessions(static_cast<uint32_t>(sessions_.size()));
}

}  // namespace concord
