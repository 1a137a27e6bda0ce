// SessionRegistry: a session's layout.
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "operators/errors.h"
#include "operators/momentum/layout.h"
#include "proto/options/layout.h"
#include "server/session/options.h"
#include "server/session/registry.h"

namespace concord {
namespace {

constexpr absl::string_view kPrefix = "sessions/";

// `present`'s options with another layout; what the server has set stays.
absl::StatusOr<v1::Session> WithLayout(const v1::Session& present,
                                       const v1::Layout& layout,
                                       const Limits& limits) {
  v1::Session wanted = present;
  *wanted.mutable_layout() = layout;
  wanted.set_num_parameters(NumParameters(ToSegments(layout)));
  absl::StatusOr<v1::Session> normalized = NormalizeSession(wanted, limits);
  if (!normalized.ok()) return normalized.status();
  v1::Session session = *std::move(normalized);
  session.set_name(present.name());
  session.set_uid(present.uid());
  session.set_epoch(present.epoch());
  session.set_owner(present.owner());
  session.set_device(present.device());
  *session.mutable_create_time() = present.create_time();
  return session;
}

// The layout that the vectors have.
absl::StatusOr<v1::Layout> PreviousLayout(
    const v1::Session& present, const v1::UpdateLayoutRequest& request) {
  if (!present.has_layout()) {
    if (request.has_previous()) return request.previous();
    return InvalidField("INVALID_OPTION", "previous", "none",
                        absl::StrCat("the layout so far: ", present.name(),
                                     " was created without one"));
  }
  if (!request.has_previous()) return present.layout();
  const auto difference = FirstDifference(request.previous(), present.layout());
  if (!difference.has_value()) return present.layout();
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"LAYOUT_MISMATCH",
       absl::StrCat("previous", absl::StripPrefix(difference->field, "layout")),
       difference->left,
       difference->right,
       {{"layout_hash", absl::StrCat(present.layout_hash())}}},
      "the session has another layout");
}

}  // namespace

void SessionRegistry::AwaitNoChange(absl::string_view name) {
  const auto unchanged = [this, name]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !changing_.contains(name);
  };
  mutex_.Await(absl::Condition(&unchanged));
}

absl::StatusOr<v1::Session> SessionRegistry::UpdateLayout(
    const v1::UpdateLayoutRequest& request) {
  {
    absl::MutexLock lock(&mutex_);
    AwaitNoChange(request.name());
    changing_.insert(request.name());
  }
  const absl::Cleanup done = [&] {
    absl::MutexLock lock(&mutex_);
    changing_.erase(request.name());
  };
  const absl::StatusOr<std::shared_ptr<Session>> found =
      FindCreation(request.name(), request.uid());
  return found.ok() ? ChangeLayout(*found, request) : found.status();
}

absl::StatusOr<v1::Session> SessionRegistry::ChangeLayout(
    const std::shared_ptr<Session>& session,
    const v1::UpdateLayoutRequest& request) {
  const v1::Session present = session->Describe();
  if (request.layout().segments_size() > 0 &&
      LayoutHash(request.layout()) == present.layout_hash()) {
    return present;  // Another rank has asked for it already.
  }
  const absl::StatusOr<v1::Layout> previous = PreviousLayout(present, request);
  if (!previous.ok()) return previous.status();
  if (NumParameters(ToSegments(*previous)) != present.num_parameters()) {
    return InvalidField(
        "INVALID_OPTION", "previous",
        absl::StrCat(NumParameters(ToSegments(*previous)),
                     " elements in all segments"),
        absl::StrCat("num_parameters = ", present.num_parameters()));
  }
  const absl::StatusOr<LayoutChange> change =
      MatchLayouts(ToSegments(*previous), ToSegments(request.layout()));
  if (!change.ok()) return change.status();
  absl::StatusOr<v1::Session> options =
      WithLayout(present, request.layout(), options_.limits);
  if (!options.ok()) return options.status();

  const std::string id(absl::StripPrefix(present.name(), kPrefix));
  const bool keeps_steps = present.durability() == v1::DURABILITY_STEP;
  std::shared_ptr<Session> successor;
  {
    absl::MutexLock lock(&mutex_);
    absl::Status status = CheckOpen();
    if (!status.ok()) return status;
    absl::StatusOr<std::shared_ptr<Session>> made =
        Make(*std::move(options),
             present.owner().empty() ? nullptr : callers_.Find(present.owner()),
             nullptr, std::nullopt, session.get());
    if (!made.ok()) return made.status();
    successor = *std::move(made);
  }
  const absl::Status status = session->HandOver(*change, successor.get(), [&] {
    return keeps_steps ? options_.storage->ReplaceState(id) : absl::OkStatus();
  });
  if (!status.ok()) {
    if (keeps_steps) {
      options_.storage->RemoveState(id, StateVersion::kNext).IgnoreError();
    }
    return status;
  }
  successor->AskForCheckpoint();
  absl::Status over;
  {
    absl::MutexLock lock(&mutex_);
    sessions_[present.name()] = successor;
    over = CheckOpen();
  }
  if (!over.ok()) {
    // Drain has not seen it.
    successor->Close(over);
    PutAway(successor.get(), absl::InfiniteFuture()).IgnoreError();
  }
  return successor->Describe();
}

}  // namespace concord
