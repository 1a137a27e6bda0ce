#include "server/session/registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/time_util.h"
#include "operators/combine/combiner.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/losses/loss_recorder.h"
#include "operators/momentum/momentum_operator.h"
#include "proto/options/element_type.h"
#include "proto/options/layout.h"
#include "server/session/messages.h"
#include "server/session/options.h"
#include "server/session/stored_session.h"

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

absl::Status StateProblem(absl::StatusCode code, const char* reason,
                          const std::string& id, const std::string& why) {
  return MakeError(code, {reason, "", "", "", {{"session", id}, {"why", why}}},
                   absl::StrCat("the state file of ", id, ": ", why));
}

bool KeepsSteps(const v1::Session& session) {
  return session.durability() == v1::DURABILITY_STEP;
}

absl::Status Exists(const Session& existing, const v1::Session& wanted,
                    const v1::Session& present) {
  // Without a field: the options agree, and a client may take the session.
  ErrorDetail detail{"SESSION_EXISTS", "", "", "", {{"uid", existing.uid()}}};
  std::optional<Difference> difference = FirstDifference(wanted, present);
  if (difference.has_value() && wanted.has_layout() && present.has_layout()) {
    // Of two layouts the segment says more than their lengths.
    const auto segment = FirstDifference(wanted.layout(), present.layout());
    if (segment.has_value()) {
      difference = Difference{segment->field, segment->left, segment->right};
    }
  }
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
      callers_(options_.limits.per_caller, budget_, options_.clock),
      committers_(options_.committer_threads),
      checkpointers_(1) {}

SessionRegistry::~SessionRegistry() = default;

absl::Status SessionRegistry::CheckOpen() const {
  if (!draining_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, {"DRAINING", "", "", "", {}},
                   "the server is shutting down");
}

absl::StatusOr<v1::Session> SessionRegistry::Create(
    const v1::CreateSessionRequest& request, absl::string_view owner,
    const std::shared_ptr<CallerAccount>& account) {
  if (!request.session_id().empty() && !IsSessionId(request.session_id())) {
    return InvalidField("INVALID_OPTION", "session_id", request.session_id(),
                        "[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?");
  }
  absl::StatusOr<v1::Session> normalized =
      NormalizeSession(request.session(), options_.limits);
  if (!normalized.ok()) return normalized.status();
  absl::MutexLock lock(&mutex_);
  const absl::Status open = CheckOpen();
  if (!open.ok()) return open;
  std::string name = absl::StrCat(kPrefix, request.session_id());
  while (request.session_id().empty() && (name == kPrefix || IsTaken(name))) {
    name = absl::StrFormat("%s%012x", kPrefix,
                           absl::Uniform<uint64_t>(random_, 0, 1ull << 48));
  }
  if (IsTaken(name)) {
    const absl::StatusOr<std::shared_ptr<Session>> existing = Find(name);
    if (!existing.ok()) return existing.status();
    const absl::StatusOr<v1::Session> present =
        NormalizeSession((*existing)->options(), options_.limits);
    if (!present.ok()) return present.status();
    return Exists(**existing, *normalized, *present);
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
  v1::Session options = *std::move(normalized);
  options.set_name(name);
  options.set_uid(absl::StrFormat("%016x%016x",
                                  absl::Uniform<uint64_t>(random_),
                                  absl::Uniform<uint64_t>(random_)));
  options.set_epoch(1);
  options.set_owner(std::string(owner));
  options.set_device(options_.kernels->device());
  *options.mutable_create_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(options_.clock->Now()));
  absl::StatusOr<std::shared_ptr<Session>> session =
      Make(std::move(options), account, nullptr, std::nullopt);
  if (!session.ok()) return session.status();
  if (!request.restore_from().empty()) {
    const absl::StatusOr<v1::Session> restored =
        RestoreFrom(request.restore_from(), session->get());
    if (!restored.ok()) {
      (*session)->Close(restored.status());
      if (options_.storage != nullptr) {
        options_.storage->RemoveState(absl::StripPrefix(name, kPrefix))
            .IgnoreError();
      }
      return restored.status();
    }
  }
  sessions_.emplace(name, *session);
  return (*session)->Describe();
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Make(
    v1::Session options, const std::shared_ptr<CallerAccount>& account,
    std::shared_ptr<StateFile> state, std::optional<state::Record> stored,
    const Session* replaced) {
  const StateVersion version =
      replaced == nullptr ? StateVersion::kValid : StateVersion::kNext;
  const bool keeps_steps = KeepsSteps(options);
  const absl::StatusOr<uint64_t> bytes = ReservedBytes(
      ToOperatorOptions(options), options_.kernels->host_accessible(),
      keeps_steps, options.update_history(), GatheredVectors(options),
      options.update_type());
  if (!bytes.ok()) return bytes.status();
  std::unique_ptr<CallerAccount::Use> use;
  if (account != nullptr && (stored.has_value() || replaced != nullptr)) {
    use = account->AddStoredSession();
  } else if (account != nullptr) {
    absl::StatusOr<std::unique_ptr<CallerAccount::Use>> added =
        account->AddSession();
    if (!added.ok()) return added.status();
    use = *std::move(added);
  }
  const std::shared_ptr<MemoryBudget>& budget =
      account == nullptr ? budget_ : account->memory();
  absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>> reservation =
      stored.has_value() ? budget->ReserveBeyond(*bytes)
                         : budget->Reserve(*bytes);
  if (!reservation.ok()) return reservation.status();
  options.set_memory_bytes(*bytes);
  const std::string id(absl::StripPrefix(options.name(), kPrefix));
  const bool creates = keeps_steps && state == nullptr;
  if (creates) {
    absl::StatusOr<std::shared_ptr<StateFile>> created =
        options_.storage->CreateState(id, StateShape(options), options.uid(),
                                      options.SerializeAsString(), version);
    if (!created.ok()) return created.status();
    state = *std::move(created);
  }
  Session::Parts parts;
  parts.options = std::move(options);
  parts.kernels = options_.kernels;
  parts.on_commit = options_.on_commit;
  parts.committers = &committers_;
  parts.reservation = *std::move(reservation);
  parts.use = std::move(use);
  parts.budget = budget;
  parts.clock = options_.clock;
  parts.max_chunk_bytes = options_.limits.max_chunk_bytes;
  parts.state = std::move(state);
  parts.stored = std::move(stored);
  parts.phase = options_.phase;
  if (replaced != nullptr) replaced->PassOn(&parts);
  if (parts.options.durability() != v1::DURABILITY_NONE) {
    absl::StatusOr<std::unique_ptr<CheckpointDirectory>> checkpoints =
        options_.storage->OpenCheckpoints(id);
    if (!checkpoints.ok()) return checkpoints.status();
    parts.checkpoints = *std::move(checkpoints);
    parts.take_checkpoint = [this](std::shared_ptr<Session> due) {
      checkpointers_.Run([this, due = std::move(due)] {
        const absl::Status status = due->Checkpoint().status();
        if (options_.on_checkpoint != nullptr) {
          options_.on_checkpoint(due->name(), status);
        }
      });
    };
  }
  absl::StatusOr<std::shared_ptr<Session>> session =
      Session::Create(std::move(parts));
  if (!session.ok() && creates) {
    // Of the two errors the first is the one to tell.
    options_.storage->RemoveState(id, version).IgnoreError();
  }
  return session;
}

bool SessionRegistry::IsTaken(const std::string& name) const {
  return sessions_.contains(name) || unusable_.contains(name) ||
         (options_.storage != nullptr &&
          options_.storage->HasState(absl::StripPrefix(name, kPrefix)));
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::TakeUp(
    const std::string& id) {
  absl::StatusOr<std::shared_ptr<StateFile>> file =
      options_.storage->OpenState(id);
  if (!file.ok()) return file.status();
  v1::Session created;
  state::Record record;
  if (!created.ParseFromString((*file)->creation()) ||
      !record.ParseFromString((*file)->record()) ||
      created.uid() != (*file)->identity()) {
    return StateProblem(absl::StatusCode::kDataLoss, "STATE_DAMAGED", id,
                        "a message in it is unreadable");
  }
  if (created.name() != absl::StrCat(kPrefix, id)) {
    return StateProblem(absl::StatusCode::kFailedPrecondition, "STATE_FOREIGN",
                        id, absl::StrCat("it is of ", created.name()));
  }
  const absl::Status intact =
      CheckVectors(record, (*file)->shape().vector_bytes, file->get());
  if (!intact.ok()) return intact;
  v1::Session options = WithOptions(created, record.options());
  FillWireTypes(&options);  // A file may be older than they are.
  // What is stored is its owner's, whatever his limits are now.
  const std::string owner = options.owner();
  return Make(std::move(options),
              owner.empty() ? nullptr : callers_.Find(owner), *std::move(file),
              std::move(record));
}

absl::Status SessionRegistry::WithCheckpoint(const absl::Status& status,
                                             const std::string& id) const {
  absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return status;
  const absl::StatusOr<CheckpointFile> newest =
      options_.storage->NewestCheckpoint(id);
  const std::string checkpoint =
      newest.ok() ? absl::StrCat(kPrefix, id, "/checkpoints/", newest->step)
                  : "";
  detail->metadata.emplace_back("checkpoint", checkpoint);
  return MakeError(
      status.code(), *std::move(detail),
      absl::StrCat(kPrefix, id, " cannot be used; ",
                   checkpoint.empty() ? "there is no checkpoint"
                                      : "its newest checkpoint is ",
                   checkpoint, ": ", status.message()));
}

std::vector<SessionRegistry::TakenUp> SessionRegistry::TakeUpStored() {
  if (options_.storage == nullptr) return {};
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::vector<std::string>> ids =
      options_.storage->StoredSessions();
  if (!ids.ok()) return {{"", ids.status(), 0}};
  std::vector<TakenUp> result;
  for (const std::string& id : *ids) {
    const std::string name = absl::StrCat(kPrefix, id);
    const absl::StatusOr<std::shared_ptr<Session>> session = Find(name);
    result.push_back(
        {name, session.status(),
         session.ok() ? (*session)->Describe().committed_step() : 0});
  }
  return result;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Find(
    absl::string_view name) {
  if (const auto found = sessions_.find(name); found != sessions_.end()) {
    return found->second;
  }
  if (const auto found = unusable_.find(name); found != unusable_.end()) {
    return found->second;
  }
  const std::string id(absl::StripPrefix(name, kPrefix));
  if (options_.storage == nullptr || !absl::StartsWith(name, kPrefix) ||
      !IsSessionId(id) || !options_.storage->HasState(id)) {
    return NotFound(name);
  }
  absl::StatusOr<std::shared_ptr<Session>> session = TakeUp(id);
  if (session.ok()) {
    sessions_.emplace(name, *session);
  } else if (session.status().code() == absl::StatusCode::kDataLoss ||
             session.status().code() == absl::StatusCode::kFailedPrecondition) {
    // It will not be better the next time; a lack of memory may be.
    session = WithCheckpoint(session.status(), id);
    unusable_.emplace(name, session.status());
  }
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Get(
    absl::string_view name) {
  absl::StatusOr<std::shared_ptr<Session>> session = NotFound(name);
  {
    absl::MutexLock lock(&mutex_);
    session = Find(name);
  }
  if (session.ok()) (*session)->Touch();
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
  const absl::Status status = (*session)->CheckUid(request.uid());
  if (!status.ok()) return status;
  return (*session)->ChangeOptions([&](const v1::Session& current) {
    return MergeUpdate(current, request, options_.limits);
  });
}

absl::Status SessionRegistry::Delete(const v1::DeleteSessionRequest& request) {
  std::shared_ptr<Session> session;
  absl::Status removed;
  {
    absl::MutexLock lock(&mutex_);
    AwaitNoChange(request.name());
    const absl::StatusOr<std::shared_ptr<Session>> found = Find(request.name());
    if (!found.ok() && !unusable_.contains(request.name())) {
      return found.status();
    }
    if (found.ok()) {
      const absl::Status status = (*found)->CheckUid(request.uid());
      if (!status.ok()) return status;
      session = *found;
    }
    sessions_.erase(request.name());
    unusable_.erase(request.name());
    // Under the lock: a session of that name made anew has files of its own.
    if (options_.storage != nullptr) {
      removed = options_.storage->RemoveSession(
          absl::StripPrefix(request.name(), kPrefix));
    }
  }
  if (session != nullptr) session->Close(NotFound(request.name()));
  return removed;
}

absl::StatusOr<std::unique_ptr<RankStream>> SessionRegistry::Join(
    const v1::Join& join,
    std::function<void(const absl::Status& reason)> cancel_stream) {
  const absl::StatusOr<std::shared_ptr<Session>> session = Get(join.session());
  if (!session.ok()) return session.status();
  return (*session)->Join(join, std::move(cancel_stream));
}

absl::StatusOr<std::unique_ptr<CombineCall>> SessionRegistry::StartCombine(
    const v1::CombineHeader& header,
    const std::shared_ptr<CallerAccount>& account) {
  {
    absl::MutexLock lock(&mutex_);
    const absl::Status open = CheckOpen();
    if (!open.ok()) return open;
  }
  const std::shared_ptr<MemoryBudget>& budget =
      account == nullptr ? budget_ : account->memory();
  return CombineCall::Start(
      header, {&options_.limits, options_.kernels, budget.get(), &committers_});
}

absl::StatusOr<std::vector<v1::SessionStatistics>>
SessionRegistry::ReadStatistics(absl::string_view name) const {
  std::vector<v1::SessionStatistics> all;
  absl::MutexLock lock(&mutex_);
  for (const auto& [each, session] : sessions_) {
    if (!name.empty() && each != name) continue;
    v1::SessionStatistics& message = all.emplace_back();
    message.set_session(each);
    *message.mutable_statistics() = session->statistics().Read();
  }
  if (all.empty() && !name.empty()) return NotFound(name);
  return all;
}

std::vector<std::string> SessionRegistry::ReapIdle() {
  std::vector<std::shared_ptr<Session>> idle;
  std::vector<std::string> names;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      if (changing_.contains(it->first) || !it->second->Reap()) {
        ++it;
        continue;
      }
      names.push_back(it->first);
      if (KeepsSteps(it->second->options())) {
        // Before anybody can ask for it again and open its file.
        it->second->Close(MakeError(
            absl::StatusCode::kUnavailable, {"SESSION_PARKED", "", "", "", {}},
            "the session was just put away; ask for it again"));
        // What a crash would leave is as good on this machine.
        PutAway(it->second.get(), absl::InfiniteFuture()).IgnoreError();
      } else {
        idle.push_back(it->second);
      }
      it = sessions_.erase(it);
    }
  }
  for (const std::shared_ptr<Session>& session : idle) {
    session->Close(NotFound(session->name()));
  }
  return names;
}

absl::Status SessionRegistry::PutAway(Session* session,
                                      absl::Time deadline) const {
  return session->CloseState([&] { return options_.clock->Now() >= deadline; });
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
  for (const auto& session : sessions) {
    // What does not get done is as after a crash.
    PutAway(session.get(), deadline).IgnoreError();
  }
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
  const CallerLimits& per_caller = limits.per_caller;
  info->set_max_streams_per_caller(per_caller.max_streams.value_or(0));
  info->set_max_sessions_per_caller(per_caller.max_sessions.value_or(0));
  info->set_memory_budget_per_caller_bytes(
      per_caller.memory_budget_bytes.value_or(0));
  info->set_max_step_rate_per_caller(per_caller.max_step_rate.value_or(0));
  const MemoryInfo memory = options_.kernels->memory();
  info->set_device_memory_bytes(memory.total_bytes);
  info->set_device_memory_free_bytes(memory.free_bytes);
  FillDuration(limits.default_idle_ttl, info->mutable_default_idle_ttl());
  absl::MutexLock lock(&mutex_);
  info->set_sessions(static_cast<uint32_t>(sessions_.size()));
}

}  // namespace concord
