#include "client/cpp/session.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/channel.h"
#include "client/cpp/connection.h"
#include "client/cpp/local_stream.h"
#include "client/cpp/session_impl.h"
#include "client/cpp/vector_sender.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

constexpr char kStepMethod[] = "/concord.v1.Concord/Step";
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

absl::Status WorkerSession::Impl::Open(const CallOptions& options) {
  const Limit limit(options.timeout, options.is_cancelled);
  for (Tries tries(&backoff_, client_.retry.max_attempts, limit);;) {
    absl::Status status = Join(limit);
    if (status.ok()) return status;
    const bool again = WorthRetrying(status);
    if (!tries.Again(&status, again)) return status;
  }
}

bool WorkerSession::Impl::WorthRetrying(const absl::Status& status) const {
  return IsWorthRetrying(status, worker_.incarnation, joined_before_);
}

absl::Status WorkerSession::Impl::Join(const Limit& limit) {
  absl::StatusOr<Line> line = MakeLine(server_, client_);
  if (!line.ok()) return line.status();
  const std::string authorization = line->authorization;
  const absl::Status status =
      JoinOn(std::make_unique<Connection>(*std::move(line), kStepMethod),
             /*authorization=*/"", limit);
  if (!status.ok() || !client_.shared_memory ||
      joined_.local_socket().empty() ||
      std::exchange(avoid_local_socket_, false)) {
    return status;
  }
  const absl::Status local = JoinLocally(authorization, limit);
  // A server that has no thread left for its socket may have one for gRPC.
  avoid_local_socket_ = !local.ok();
  return local;
}

absl::Status WorkerSession::Impl::JoinLocally(const std::string& authorization,
                                              const Limit& limit) {
  absl::StatusOr<std::unique_ptr<LocalStream>> local =
      LocalStream::Connect(joined_.local_socket());
  // Another machine's, or another user's: the stream does.
  if (!local.ok()) return absl::OkStatus();
  // The rank's place in the session is kept over streams.
  absl::Status status = connection_->Leave(limit);
  Disconnect();
  LocalStream* const stream = local->get();
  if (status.ok()) status = JoinOn(*std::move(local), authorization, limit);
  if (!status.ok()) return status;
  const size_t n = joined_.num_parameters();
  const size_t update_bytes = n * ElementBytes(joined_.update_type());
  const size_t vector_bytes = n * ElementBytes(joined_.gradient_type());
  if (gradients_ == nullptr) {
    // While the server reads those of one step the next step's are made.
    gradients_ = SharedPool::Make(vector_bytes, 2 * joined_.num_vectors());
  }
  // What is widened on its way to the caller is not written there at once.
  if (updates_ == nullptr && joined_.update_type() == joined_.data_type()) {
    // One is kept by the caller while the next is written, and one more.
    updates_ = SharedPool::Make(update_bytes, 3);
  }
  shared_ = std::make_unique<SharedVectors>(stream, vector_bytes, update_bytes,
                                            gradients_, updates_);
  return absl::OkStatus();
}

void WorkerSession::Impl::Disconnect() {
  shared_.reset();
  connection_.reset();
}

absl::Status WorkerSession::Impl::JoinOn(std::unique_ptr<MessageStream> stream,
                                         const std::string& authorization,
                                         const Limit& limit) {
  v1::StepRequest request;
  v1::Join& join = *request.mutable_join();
  join.set_authorization(authorization);
  join.set_traceparent(client_.traceparent);
  join.set_session(worker_.session);
  join.set_rank(worker_.rank);
  join.set_incarnation(worker_.incarnation);
  join.set_uid(joined_before_ ? joined_.uid() : worker_.uid);
  join.set_epoch(joined_before_ ? joined_.epoch() : worker_.epoch);
  if (joined_before_) {
    join.set_resume_step(applied_step_);
  } else if (worker_.resume_step.has_value()) {
    join.set_resume_step(*worker_.resume_step);
  }
  grpc::ByteBuffer buffer;
  if (!stream->Write(wire::Encode(request), limit) ||
      !stream->Read(&buffer, limit)) {
    return stream->Close(limit);
  }
  v1::StepResponse response;
  if (!wire::Decode(buffer, &response) || !response.has_joined()) {
    return absl::DataLossError("the server did not answer a Join with Joined");
  }
  if (!joined_before_) {
    applied_step_ =
        worker_.resume_step.value_or(response.joined().committed_step());
    joined_before_ = true;
  }
  joined_.Swap(response.mutable_joined());
  // Not set by servers that know of none.
  if (joined_.gradient_type() == v1::DATA_TYPE_UNSPECIFIED) {
    joined_.set_gradient_type(joined_.data_type());
  }
  if (joined_.update_type() == v1::DATA_TYPE_UNSPECIFIED) {
    joined_.set_update_type(joined_.data_type());
  }
  connection_ = std::move(stream);
  return absl::OkStatus();
}

v1::StepHeader WorkerSession::Impl::MakeHeader(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, absl::Span<const int> active) const {
  v1::StepHeader header;
  header.set_step(applied_step_ + 1);
  header.set_epoch(joined_.epoch());
  header.set_layout_hash(worker_.layout_hash);
  for (const StepLoss& loss : losses) {
    v1::LossValue& to = *header.add_losses();
    to.set_index(static_cast<uint32_t>(loss.index));
    to.set_value(loss.value);
    to.set_sample_weight(loss.sample_weight);
  }
  for (const int index : active) {
    header.add_active(static_cast<uint32_t>(index));
  }
  for (const StepVector& contribution : contributions) {
    v1::VectorHeader& to = *header.add_vectors();
    to.set_index(static_cast<uint32_t>(contribution.index));
    to.set_data_type(joined_.gradient_type());
    to.set_length(joined_.num_parameters());
    to.set_sample_weight(contribution.sample_weight);
  }
  return header;
}

size_t WorkerSession::Impl::ChunkBytes() const {
  if (joined_.max_chunk_bytes() == 0) return client_.chunk_bytes;
  return std::min<size_t>(client_.chunk_bytes, joined_.max_chunk_bytes());
}

bool WorkerSession::Impl::IsInPlace(const StepVector& contribution,
                                    size_t position) const {
  return contribution.data == shared_->vector(position).data();
}

bool WorkerSession::Impl::SendShared(const v1::StepHeader& header,
                                     absl::Span<const StepVector> contributions,
                                     const Limit& limit) {
  const size_t size =
      joined_.num_parameters() * ElementBytes(joined_.gradient_type());
  const auto type_of = [this](const StepVector& contribution) {
    return Narrows(contribution) ? ToHalfType(joined_.gradient_type())
                                 : std::nullopt;
  };
  const size_t single_bytes =
      std::min(ChunkBytes(), client_.single_message_bytes);
  // What the server reads where it lies needs as few pieces as it takes.
  const size_t most_bytes =
      joined_.max_chunk_bytes() == 0 ? ChunkBytes() : joined_.max_chunk_bytes();
  size_t copied = 0;
  for (size_t i = 0; i < contributions.size(); ++i) {
    if (!IsInPlace(contributions[i], i)) ++copied;
  }
  v1::StepRequest message;
  if (copied == 0 ? size <= most_bytes : size <= single_bytes / copied) {
    for (size_t i = 0; i < contributions.size(); ++i) {
      if (IsInPlace(contributions[i], i)) continue;
      CopyInto(shared_->vector(i), contributions[i].data,
               type_of(contributions[i]));
    }
    v1::StepContribution& contribution = *message.mutable_contribution();
    *contribution.mutable_header() = header;
    shared_->SetPlaces(contribution.mutable_header());
    contribution.set_is_shared(true);
    return connection_->Write(wire::Encode(message), limit);
  }
  *message.mutable_header() = header;
  shared_->SetPlaces(message.mutable_header());
  if (!connection_->Write(wire::Encode(message), limit)) return false;
  for (size_t i = 0; i < contributions.size(); ++i) {
    if (!concord::SendShared(
            connection_.get(), static_cast<int>(i), contributions[i].data,
            type_of(contributions[i]), shared_->vector(i),
            IsInPlace(contributions[i], i) ? most_bytes : ChunkBytes(),
            limit)) {
      return false;
    }
  }
  return true;
}

bool WorkerSession::Impl::Send(const v1::StepHeader& header,
                               absl::Span<const StepVector> contributions,
                               const Limit& limit) {
  const size_t size =
      joined_.num_parameters() * ElementBytes(joined_.gradient_type());
  const size_t chunk_bytes = ChunkBytes();
  const size_t single_bytes =
      std::min(chunk_bytes, client_.single_message_bytes);
  if (contributions.empty() || size <= single_bytes / contributions.size()) {
    absl::InlinedVector<grpc::Slice, 4> slices;
    for (const StepVector& contribution : contributions) {
      if (Narrows(contribution)) {
        slices.push_back(NarrowedSlice(
            static_cast<const float*>(contribution.data),
            *ToHalfType(joined_.gradient_type()), joined_.num_parameters()));
      } else {
        slices.push_back(connection_->Lend(
            {static_cast<const std::byte*>(contribution.data), size}));
      }
    }
    v1::StepContribution message;
    *message.mutable_header() = header;
    return connection_->Write(
        wire::EncodeWithData(wire::kContributionField, message, slices), limit);
  }
  v1::StepRequest message;
  *message.mutable_header() = header;
  if (!connection_->Write(wire::Encode(message), limit)) return false;
  for (size_t i = 0; i < contributions.size(); ++i) {
    const void* const data = contributions[i].data;
    const int position = static_cast<int>(i);
    const bool sent = Narrows(contributions[i])
                          ? SendNarrowed(connection_.get(), position,
                                         static_cast<const float*>(data),
                                         *ToHalfType(joined_.gradient_type()),
                                         size, chunk_bytes, limit)
                          : SendVector(connection_.get(), position, data, size,
                                       chunk_bytes, limit);
    if (!sent) return false;
  }
  return true;
}

absl::Status WorkerSession::Impl::Receive(UpdateReceiver* receiver,
                                          const Limit& limit) {
  grpc::ByteBuffer buffer;
  v1::StepResponse response;
  wire::Payload data;
  while (!receiver->complete()) {
    if (!connection_->Read(&buffer, limit)) return connection_->Close(limit);
    if (!wire::Decode(buffer, &response, &data)) {
      return absl::DataLossError("the server sent an unreadable message");
    }
    if (shared_ != nullptr) {
      absl::Status status = shared_->FindUpdate(response, &data);
      if (!status.ok()) return status;
    }
    absl::Status status = receiver->Add(&response, data);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WorkerSession::Impl::Try(
    v1::StepHeader* header, absl::Span<const StepVector> contributions,
    const void* update, UpdateReceiver* receiver, const Limit& limit) {
  // The micro-batches of a step are one attempt.
  if (header->accumulation().micro_batch() == 0) ++attempt_;
  header->set_attempt(attempt_);
  connection_->StartRead();
  bool shares = shared_ != nullptr;
  if (shares) {
    absl::InlinedVector<const void*, 4> vectors;
    for (const StepVector& contribution : contributions) {
      vectors.push_back(Narrows(contribution) ? nullptr : contribution.data);
    }
    shares = shared_->Reserve(vectors, update, limit);
  }
  if (!(shares ? SendShared(*header, contributions, limit)
               : Send(*header, contributions, limit))) {
    return connection_->Close(limit);
  }
  absl::Status status = Receive(receiver, limit);
  if (status.ok() && !connection_->ReturnLoans()) Disconnect();
  return status;
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

bool WorkerSession::Impl::Narrows(const StepVector& contribution) const {
  return contribution.data_type != joined_.gradient_type() &&
         ToHalfType(joined_.gradient_type()).has_value();
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
