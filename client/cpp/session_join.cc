// How a worker's session comes to a stream, and from it to shared memory.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "client/cpp/channel.h"
#include "client/cpp/connection.h"
#include "client/cpp/local_stream.h"
#include "client/cpp/session_impl.h"
#include "proto/options/element_type.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

constexpr char kStepMethod[] = "/concord.v1.Concord/Step";

}  // namespace

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

}  // namespace concord
