#include "client/cpp/session.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/channel.h"
#include "client/cpp/session_impl.h"
#include "client/cpp/vector_sender.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

constexpr absl::Duration kLeaveTime = absl::Seconds(1);

absl::Status CheckUpdate(absl::Span<const StepVector> contributions,
                         const void* update, const v1::Joined& joined) {
  if (update == nullptr) {
    return InvalidField("INVALID_OPTION", "update", "null",
                        "memory for one vector");
  }
  for (size_t i = 0; i < contributions.size(); ++i) {
    const v1::DataType type = contributions[i].data_type;
    if (Overlap(contributions[i].data,
                joined.num_parameters() *
                    ElementBytes(type == v1::DATA_TYPE_UNSPECIFIED
                                     ? joined.data_type()
                                     : type),
                update,
                joined.num_parameters() * ElementBytes(joined.data_type()))) {
      return InvalidField("INVALID_OPTION", "update",
                          absl::StrCat("memory of contributions[", i, "]"),
                          "memory that overlaps no contribution");
    }
  }
  return absl::OkStatus();
}

// `field`: with the position, "vectors[1].index".
absl::Status CheckIndex(absl::string_view field, int index,
                        uint32_t num_vectors) {
  if (index >= 0 && static_cast<uint32_t>(index) < num_vectors) {
    return absl::OkStatus();
  }
  return InvalidField("INDEX_OUT_OF_RANGE", field, absl::StrCat(index),
                      absl::StrCat("an index in [0, ", num_vectors, ")"));
}

// The memory of a micro-batch is not the client's any more when a later one
// finds that the connection is gone.
absl::Status AccumulationLost(uint64_t step, const absl::Status& why) {
  return MakeError(
      absl::StatusCode::kAborted,
      {"ACCUMULATION_LOST", "", "", "", {{"step", absl::StrCat(step)}}},
      absl::StrCat("the micro-batches of step ", step,
                   " are lost with the connection; bring them again, from the "
                   "first: ",
                   why.ToString()));
}

// A later Step must not try again: it would get the same, or worse, take the
// rank back from whoever has it now.
bool IsForGood(const absl::Status& status) {
  return absl::IsNotFound(status) || GetErrorReason(status) == "SUPERSEDED";
}

}  // namespace

WorkerSession::Impl::Impl(std::string server, const ClientOptions& client,
                          WorkerOptions worker)
    : server_(std::move(server)),
      client_(client),
      worker_(std::move(worker)),
      backoff_(client.retry) {
  // A retry after the very first join, whose answer may have been lost, must
  // be known as the same worker.
  std::random_device random;
  while (worker_.incarnation == 0) {
    worker_.incarnation = uint64_t{random()} << 32 | random();
  }
}

WorkerSession::Impl::~Impl() {
  if (connection_ != nullptr) {
    // Nobody is left who could be told of an error.
    (void)connection_->Leave(Limit(kLeaveTime, /*is_cancelled=*/{}));
  }
}

absl::Status WorkerSession::Impl::Check(
    absl::Span<const StepVector> contributions) const {
  absl::Status status = guard_.Check();
  if (status.ok()) status = ended_;
  for (size_t i = 0; status.ok() && i < contributions.size(); ++i) {
    if (contributions[i].data == nullptr) {
      return InvalidField("INVALID_OPTION",
                          absl::StrCat("contributions[", i, "].data"), "null",
                          "memory of one vector");
    }
    const v1::DataType type = contributions[i].data_type;
    if (type != v1::DATA_TYPE_UNSPECIFIED && type != joined_.data_type() &&
        type != joined_.gradient_type()) {
      return InvalidField(
          "DATA_TYPE_MISMATCH", absl::StrCat("vectors[", i, "].data_type"),
          NameOf(type),
          joined_.gradient_type() == joined_.data_type()
              ? NameOf(joined_.data_type())
              : absl::StrCat(NameOf(joined_.data_type()), " or ",
                             NameOf(joined_.gradient_type())));
    }
    status = CheckIndex(absl::StrCat("vectors[", i, "].index"),
                        contributions[i].index, joined_.num_vectors());
  }
  return status;
}

void WorkerSession::Impl::Drop(const absl::Status& status) {
  Disconnect();
  micro_batches_ = 0;
  if (!WorthRetrying(status) && IsForGood(status)) ended_ = status;
}

absl::Status WorkerSession::Impl::Accumulate(
    absl::Span<const StepVector> contributions, const StepOptions& options) {
  absl::Status status = Check(contributions);
  if (!status.ok()) return status;
  const Limit limit(options.timeout, options.is_cancelled);
  v1::StepHeader header = MakeHeader(contributions, {}, options.active);
  header.mutable_accumulation()->set_micro_batch(micro_batches_);
  const bool first = micro_batches_ == 0;
  for (Tries tries(&backoff_, client_.retry.max_attempts, limit);;) {
    if (connection_ == nullptr) status = Join(limit);
    if (status.ok()) {
      if (first) ++attempt_;
      header.set_attempt(attempt_);
      connection_->StartRead();
      if (Send(header, contributions, limit) &&
          connection_->AwaitLoans(limit)) {
        ++micro_batches_;
        return status;
      }
      status = connection_->Close(limit);
    }
    const bool again = WorthRetrying(status);
    Drop(status);
    if (!first && again) {
      limit.Pause(RetryDelay(status));
      return AccumulationLost(header.step(), status);
    }
    if (!tries.Again(&status, again)) return status;
    status = absl::OkStatus();
  }
}

absl::Status WorkerSession::Impl::Leave(const CallOptions& options) {
  absl::Status status = Check({});
  if (!status.ok()) return status;
  const Limit limit(options.timeout, options.is_cancelled);
  for (Tries tries(&backoff_, client_.retry.max_attempts, limit);;) {
    if (connection_ == nullptr) status = Join(limit);
    if (status.ok()) {
      v1::StepRequest request;
      request.mutable_leave();
      status = connection_->Write(wire::Encode(request), limit)
                   ? connection_->Leave(limit)
                   : connection_->Close(limit);
    }
    const bool again = WorthRetrying(status);
    if (!status.ok()) Drop(status);
    if (status.ok()) {
      Disconnect();
      ended_ =
          absl::FailedPreconditionError("this worker has left the session");
      return status;
    }
    if (!tries.Again(&status, again)) return status;
    status = absl::OkStatus();
  }
}

absl::StatusOr<StepOutcome> WorkerSession::Impl::Step(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, void* update,
    const StepOptions& options) {
  absl::Status status = Check(contributions);
  if (status.ok()) status = CheckUpdate(contributions, update, joined_);
  for (size_t i = 0; status.ok() && i < losses.size(); ++i) {
    status = CheckIndex(absl::StrCat("losses[", i, "].index"), losses[i].index,
                        joined_.num_vectors());
  }
  for (size_t i = 0; status.ok() && i < options.active.size(); ++i) {
    status = CheckIndex(absl::StrCat("active[", i, "]"), options.active[i],
                        joined_.num_vectors());
  }
  if (status.ok()) {
    status = ValidateTraceparent("traceparent", options.traceparent);
  }
  if (!status.ok()) return status;
  absl::StatusOr<StepOutcome> outcome =
      TrySteps(contributions, losses, update, options);
  if (outcome.ok() || gradients_ == nullptr) return outcome;
  // A server that still reads must not take for the gradient what the caller
  // writes there next.
  for (const StepVector& contribution : contributions) {
    status = gradients_->Detach(contribution.data);
    if (!status.ok()) return status;
  }
  return outcome;
}

absl::StatusOr<StepOutcome> WorkerSession::Impl::TrySteps(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, void* update,
    const StepOptions& options) {
  absl::Status status;
  const Limit limit(options.timeout, options.is_cancelled);
  v1::StepHeader header = MakeHeader(contributions, losses, options.active);
  header.set_traceparent(options.traceparent);
  const bool closes = micro_batches_ > 0;
  absl::Status lost;
  if (closes) {
    header.mutable_accumulation()->set_micro_batch(micro_batches_);
    header.mutable_accumulation()->set_last(true);
  }
  for (Tries tries(&backoff_, client_.retry.max_attempts, limit);;) {
    if (connection_ == nullptr) status = Join(limit);
    if (status.ok() && closes && micro_batches_ == 0) {
      // The connection of the micro-batches is gone. All of them had come if
      // the step is committed; then there is the update to ask for.
      if (joined_.committed_step() < header.step()) {
        return AccumulationLost(header.step(), lost);
      }
      header.clear_accumulation();
      header.clear_vectors();
      header.clear_losses();
      contributions = {};
    }
    if (status.ok()) {
      UpdateReceiver receiver(header.step(), joined_.epoch(),
                              joined_.num_parameters(), joined_.update_type(),
                              static_cast<std::byte*>(update));
      status = Try(&header, contributions, update, &receiver, limit);
      if (status.ok()) {
        StepOutcome outcome;
        outcome.result.Swap(&receiver.result());
        outcome.trailer.Swap(&receiver.trailer());
        outcome.attempts = std::exchange(attempt_, 0);
        micro_batches_ = 0;
        ++applied_step_;
        return outcome;
      }
    }
    const bool again = WorthRetrying(status);
    Drop(status);
    if (updates_ != nullptr) {
      absl::Status detached = updates_->Detach(update);
      if (!detached.ok()) return detached;
    }
    lost = status;
    if (!tries.Again(&status, again)) return status;
    status = absl::OkStatus();
  }
}

std::shared_ptr<void> WorkerSession::Impl::TakeUpdate() {
  return shared_ == nullptr || updates_ == nullptr ? nullptr : updates_->Take();
}

std::shared_ptr<void> WorkerSession::Impl::TakeGradient() {
  return shared_ == nullptr ? nullptr : gradients_->Take();
}

WorkerSession::WorkerSession(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

WorkerSession::~WorkerSession() {
  // In a forked child the parent's connection must not be touched.
  if (impl_->forked()) (void)impl_.release();
}

const v1::Joined& WorkerSession::joined() const { return impl_->joined(); }

uint64_t WorkerSession::incarnation() const { return impl_->incarnation(); }

uint64_t WorkerSession::applied_step() const { return impl_->applied_step(); }

absl::StatusOr<StepOutcome> WorkerSession::Step(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, void* update,
    const StepOptions& options) {
  return impl_->Step(contributions, losses, update, options);
}

absl::Status WorkerSession::Accumulate(
    absl::Span<const StepVector> contributions, const StepOptions& options) {
  return impl_->Accumulate(contributions, options);
}

absl::Status WorkerSession::Leave(const CallOptions& options) {
  return impl_->Leave(options);
}

std::shared_ptr<void> WorkerSession::TakeUpdate() {
  return impl_->TakeUpdate();
}

std::shared_ptr<void> WorkerSession::TakeGradient() {
  return impl_->TakeGradient();
}

}  // namespace concord
