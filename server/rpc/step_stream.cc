#include "server/rpc/step_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"
#include "server/rpc/update_sender.h"
#include "server/session/session.h"

namespace concord {
namespace {

absl::string_view MessageName(const v1::StepRequest& request) {
  switch (request.message_case()) {
    case v1::StepRequest::kJoin:
      return "join";
    case v1::StepRequest::kHeader:
      return "header";
    case v1::StepRequest::kChunk:
      return "chunk";
    case v1::StepRequest::kContribution:
      return "contribution";
    case v1::StepRequest::kLeave:
      return "leave";
    case v1::StepRequest::MESSAGE_NOT_SET:
      break;
  }
  return "(none)";
}

absl::Status OutOfOrder(const v1::StepRequest& request,
                        absl::string_view accepted) {
  return InvalidField("PROTOCOL_VIOLATION", "message", MessageName(request),
                      accepted);
}

}  // namespace

StepStream::StepStream(SessionRegistry* registry, LiveStream* stream)
    : registry_(registry), stream_(stream) {}

absl::StatusOr<bool> StepStream::ReadMessage() {
  grpc::ByteBuffer buffer;
  if (!stream_->Read(&buffer)) {
    absl::Status status = stream_->status();
    if (!status.ok()) return status;
    return false;
  }
  if (!wire::Decode(buffer, &request_, &data_)) {
    return InvalidField("PROTOCOL_VIOLATION", "message",
                        absl::StrCat(buffer.Length(), " bytes"),
                        "a concord.v1.StepRequest");
  }
  return true;
}

absl::Status StepStream::Run() {
  absl::StatusOr<bool> more = ReadMessage();
  if (!more.ok() || !*more) return more.status();
  if (!request_.has_join()) return OutOfOrder(request_, "join first");
  absl::Status status = Join(request_.join());
  while (status.ok()) {
    more = ReadMessage();
    if (!more.ok()) return more.status();
    if (!*more) {
      if (!in_step_ && !rank_->awaits_micro_batch()) return absl::OkStatus();
      return InvalidField("PROTOCOL_VIOLATION", "message", "end of the stream",
                          in_step_ ? "the rest of the step's chunks"
                                   : "the step's next micro-batch");
    }
    switch (request_.message_case()) {
      case v1::StepRequest::kHeader:
        status = OnHeader(request_.header());
        break;
      case v1::StepRequest::kChunk:
        status = OnChunk(request_.chunk());
        break;
      case v1::StepRequest::kContribution:
        status = OnContribution(request_.contribution());
        break;
      case v1::StepRequest::kLeave:
        return rank_->Leave();
      default:
        status = OutOfOrder(request_, "header, contribution, chunk or leave");
    }
    if (status.ok() && in_step_ && rank_->complete()) {
      in_step_ = false;
      if (!rank_->awaits_micro_batch()) status = Answer();
    }
  }
  return status;
}

absl::Status StepStream::Join(const v1::Join& join) {
  session_ = join.session();
  rank_number_ = join.rank();
  stream_->Occupy();
  absl::StatusOr<std::unique_ptr<RankStream>> rank =
      registry_->Join(join, [stream = stream_](const absl::Status& reason) {
        stream->Cancel(reason);
      });
  if (!rank.ok()) return rank.status();
  rank_ = *std::move(rank);
  stream_->set_send_timeout(rank_->session().send_timeout());
  v1::StepResponse response;
  *response.mutable_joined() = rank_->joined();
  return stream_->Write(wire::Encode(response)) ? absl::OkStatus()
                                                : stream_->status();
}

absl::Status StepStream::OnHeader(const v1::StepHeader& header) {
  if (in_step_) return OutOfOrder(request_, "chunk");
  step_ = header.step();
  absl::Status status = rank_->Begin(header);
  if (status.ok()) in_step_ = true;
  return status;
}

absl::Status StepStream::OnChunk(const v1::VectorChunk& chunk) {
  if (!in_step_) return OutOfOrder(request_, "header or contribution");
  return rank_->Append({.vector = chunk.vector(),
                        .offset = chunk.offset(),
                        .size = data_.size()},
                       data_.fragments());
}

absl::Status StepStream::OnContribution(
    const v1::StepContribution& contribution) {
  absl::Status status = OnHeader(contribution.header());
  if (!status.ok()) return status;
  const uint64_t limit = rank_->joined().max_chunk_bytes();
  if (data_.size() > limit) {
    return InvalidField("CHUNK_TOO_LARGE", "contribution.data",
                        absl::StrCat(data_.size(), " bytes"),
                        absl::StrCat("at most ", limit, " bytes"));
  }
  return rank_->AppendNext(data_.fragments());
}

absl::Status StepStream::Answer() {
  absl::StatusOr<StepReply> reply =
      rank_->Finish([this] { return stream_->is_cancelled(); });
  if (!reply.ok()) return reply.status();
  absl::Status status = reply->update->size_bytes() <= kWholeReplyBytes
                            ? SendWhole(*reply)
                            : SendParts(*reply);
  if (!status.ok()) return status;
  return rank_->EndStep();
}

absl::Status StepStream::SendWhole(const StepReply& reply) {
  absl::StatusOr<const v1::StepTrailer*> committed =
      reply.update->WaitForTrailer([this] { return stream_->is_cancelled(); });
  if (!committed.ok()) return committed.status();
  v1::StepReply message;
  *message.mutable_result() = *reply.result;
  *message.mutable_trailer() = reply.Trailer(**committed);
  const grpc::Slice data = WholeUpdate(reply.update);
  return stream_->Write(
             wire::EncodeWithData(wire::kReplyField, message, {&data, 1}))
             ? absl::OkStatus()
             : stream_->status();
}

absl::Status StepStream::SendParts(const StepReply& reply) {
  v1::StepResponse response;
  *response.mutable_result() = *reply.result;
  if (!stream_->Write(wire::Encode(response))) return stream_->status();
  absl::StatusOr<const v1::StepTrailer*> committed =
      SendUpdate(reply.update, stream_);
  if (!committed.ok()) return committed.status();
  *response.mutable_trailer() = reply.Trailer(**committed);
  return stream_->Write(wire::Encode(response)) ? absl::OkStatus()
                                                : stream_->status();
}

}  // namespace concord
