#include "server/rpc/step_stream.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "proto/wire/codec.h"
#include "server/rpc/update_sender.h"
#include "server/session/messages.h"
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

// Of `bytes`; the errors name `field`.
absl::StatusOr<absl::Span<std::byte>> FindPlace(const LiveStream& stream,
                                                const v1::SharedPlace& place,
                                                const std::string& field,
                                                uint64_t bytes) {
  constexpr uint64_t kAlignment = 64;
  const absl::Span<std::byte> region = stream.Region(place.region());
  if (region.empty()) {
    return InvalidField("INVALID_OPTION", absl::StrCat(field, ".region"),
                        absl::StrCat(place.region()),
                        "memory that was passed on this stream's local socket");
  }
  if (place.offset() % kAlignment != 0 || bytes > region.size() ||
      place.offset() > region.size() - bytes) {
    return InvalidField(
        "INVALID_OPTION", absl::StrCat(field, ".offset"),
        absl::StrCat(place.offset()),
        absl::StrCat("a multiple of ", kAlignment, " with ", bytes,
                     " bytes behind it in the region's ", region.size()));
  }
  return region.subspan(place.offset(), bytes);
}

// What `work` returns; the time that it took is added to `sum`.
template <class Work>
absl::Status Timed(absl::Duration* sum, const Work& work) {
  const absl::Time begun_at = absl::Now();
  absl::Status status = work();
  *sum += absl::Now() - begun_at;
  return status;
}

bool Overlap(absl::Span<const std::byte> a, absl::Span<const std::byte> b) {
  return a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

}  // namespace

StepStream::StepStream(SessionRegistry* registry, LiveStream* stream,
                       Metrics* metrics, EventLog* log,
                       std::string local_socket, const Admit& admit)
    : registry_(registry),
      stream_(stream),
      metrics_(metrics),
      log_(log),
      local_socket_(std::move(local_socket)),
      admit_(admit) {}

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
  const absl::Status status = Serve();
  if (rank_ != nullptr) {
    CountBytes();
    if (!status.ok()) rank_->session().statistics().CountFailedStream();
  }
  return status;
}

absl::Status StepStream::Serve() {
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
  absl::StatusOr<Billing> admitted = admit_(join);
  if (!admitted.ok()) return admitted.status();
  billing_ = *std::move(admitted);
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
  response.mutable_joined()->set_local_socket(local_socket_);
  return stream_->Write(wire::Encode(response)) ? absl::OkStatus()
                                                : stream_->status();
}

absl::Status StepStream::OnHeader(const v1::StepHeader& header) {
  if (in_step_) return OutOfOrder(request_, "chunk");
  step_ = header.step();
  if (step_trace_.is_set() || !header.traceparent().empty()) {
    step_trace_ = ParseTraceparent(header.traceparent());
  }
  absl::Status status;
  if (header.accumulation().micro_batch() == 0) {
    ingest_ = absl::ZeroDuration();
    status = billing_.account->TakeStep();
  }
  if (status.ok()) status = FindPlaces(header);
  if (status.ok()) status = rank_->Begin(header);
  if (status.ok()) in_step_ = true;
  return status;
}

absl::Status StepStream::FindPlaces(const v1::StepHeader& header) {
  const v1::Joined& joined = rank_->joined();
  vector_places_.clear();
  update_place_ = {};
  if (header.has_update_place()) {
    absl::StatusOr<absl::Span<std::byte>> place =
        FindPlace(*stream_, header.update_place(), "header.update_place",
                  joined.num_parameters() * ElementBytes(joined.update_type()));
    if (!place.ok()) return place.status();
    update_place_ = *place;
  }
  for (int i = 0; i < header.vectors_size(); ++i) {
    vector_places_.emplace_back();
    if (!header.vectors(i).has_place()) continue;
    const std::string field = absl::StrCat("header.vectors[", i, "].place");
    absl::StatusOr<absl::Span<std::byte>> place = FindPlace(
        *stream_, header.vectors(i).place(), field,
        joined.num_parameters() * ElementBytes(joined.gradient_type()));
    if (!place.ok()) return place.status();
    if (Overlap(*place, update_place_)) {
      return InvalidField("INVALID_OPTION", field, "the update's place",
                          "a place that has nothing of the update's");
    }
    vector_places_.back() = *place;
  }
  return absl::OkStatus();
}

absl::Status StepStream::OnChunk(const v1::VectorChunk& chunk) {
  if (!in_step_) return OutOfOrder(request_, "header or contribution");
  ChunkPosition position = {
      .vector = chunk.vector(), .offset = chunk.offset(), .size = data_.size()};
  if (chunk.shared_bytes() == 0) {
    return Timed(&ingest_,
                 [&] { return rank_->Append(position, data_.fragments()); });
  }
  const wire::Fragment place = position.vector < vector_places_.size()
                                   ? vector_places_[position.vector]
                                   : wire::Fragment();
  if (data_.size() > 0 || position.offset > place.size() ||
      chunk.shared_bytes() > place.size() - position.offset) {
    return InvalidField(
        "PROTOCOL_VIOLATION", "chunk.shared_bytes",
        absl::StrCat(chunk.shared_bytes(), " bytes at ", position.offset),
        absl::StrCat("no data, and bytes of the vector's place, which has ",
                     place.size()));
  }
  position.size = chunk.shared_bytes();
  const wire::Fragment part = place.subspan(position.offset, position.size);
  return Timed(&ingest_, [&] { return rank_->Append(position, {&part, 1}); });
}

absl::Status StepStream::OnContribution(
    const v1::StepContribution& contribution) {
  absl::Status status = OnHeader(contribution.header());
  if (!status.ok()) return status;
  const uint64_t limit = rank_->joined().max_chunk_bytes();
  if (contribution.is_shared()) return AppendShared();
  if (data_.size() > limit) {
    return InvalidField("CHUNK_TOO_LARGE", "contribution.data",
                        absl::StrCat(data_.size(), " bytes"),
                        absl::StrCat("at most ", limit, " bytes"));
  }
  return Timed(&ingest_, [&] { return rank_->AppendNext(data_.fragments()); });
}

absl::Status StepStream::AppendShared() {
  for (size_t i = 0; i < vector_places_.size(); ++i) {
    if (vector_places_[i].empty()) {
      return InvalidField("PROTOCOL_VIOLATION",
                          absl::StrCat("header.vectors[", i, "].place"),
                          "not set", "a place, where is_shared is set");
    }
  }
  if (data_.size() > 0) {
    return InvalidField("PROTOCOL_VIOLATION", "contribution.data",
                        absl::StrCat(data_.size(), " bytes"),
                        "none, where is_shared is set");
  }
  return Timed(&ingest_, [&] { return rank_->AppendNext(vector_places_); });
}

absl::Status StepStream::Answer() {
  absl::StatusOr<StepReply> reply =
      rank_->Finish([this] { return stream_->is_cancelled(); });
  if (!reply.ok()) return reply.status();
  const absl::Time begun_at = absl::Now();
  absl::Status status = reply->update->size_bytes() <= kWholeReplyBytes
                            ? SendWhole(*reply)
                            : SendParts(*reply);
  if (!status.ok()) return status;
  Count(*reply, absl::Now() - begun_at);
  return rank_->EndStep();
}

void StepStream::Count(const StepReply& reply, absl::Duration send) {
  metrics_->CountAnswer(*reply.result, reply.timings, ingest_, send);
  rank_->session().statistics().CountAnswer(*reply.result, reply.timings,
                                            ingest_, send);
  CountBytes();
  if (step_trace_.sampled) LogStep(reply, send);
}

void StepStream::CountBytes() {
  rank_->session().statistics().CountBytes(
      stream_->received_bytes() - received_bytes_,
      stream_->sent_bytes() - sent_bytes_);
  received_bytes_ = stream_->received_bytes();
  sent_bytes_ = stream_->sent_bytes();
}

void StepStream::LogStep(const StepReply& reply, absl::Duration send) {
  const auto seconds = [](const google::protobuf::Duration& duration) {
    return absl::ToDoubleSeconds(ToDuration(duration));
  };
  // The update was sent to its end: its trailer is there.
  const absl::StatusOr<const v1::StepTrailer*> committed =
      reply.update->WaitForTrailer([] { return true; });
  if (!committed.ok()) return;
  const v1::StepTimings timings = reply.Trailer(**committed).timings();
  log_->Write("step_answered",
              {{"session", session_},
               {"rank", int64_t{rank_number_}},
               {"step", static_cast<int64_t>(step_)},
               {"repeated", int64_t{reply.result->repeated()}},
               {"dropped", int64_t{reply.result->dropped()}},
               {"receive_s", seconds(timings.receive())},
               {"ingest_s", absl::ToDoubleSeconds(ingest_)},
               {"wait_s", seconds(timings.wait())},
               {"solve_s", seconds(timings.solve())},
               {"commit_s", seconds(timings.commit())},
               {"send_s", absl::ToDoubleSeconds(send)}},
              step_trace_);
}

absl::Status StepStream::SendWhole(const StepReply& reply) {
  absl::StatusOr<const v1::StepTrailer*> committed =
      reply.update->WaitForTrailer([this] { return stream_->is_cancelled(); });
  if (!committed.ok()) return committed.status();
  v1::StepReply message;
  *message.mutable_result() = *reply.result;
  *message.mutable_trailer() = reply.Trailer(**committed);
  bool written;
  if (update_place_.empty()) {
    const grpc::Slice data = WholeUpdate(reply.update);
    written = stream_->Write(
        wire::EncodeWithData(wire::kReplyField, message, {&data, 1}));
  } else {
    std::memcpy(update_place_.data(), reply.update->data(),
                reply.update->size_bytes());
    message.set_is_shared(true);
    written =
        stream_->Write(wire::EncodeWithData(wire::kReplyField, message, {}));
  }
  return written ? absl::OkStatus() : stream_->status();
}

absl::Status StepStream::SendParts(const StepReply& reply) {
  v1::StepResponse response;
  *response.mutable_result() = *reply.result;
  if (!stream_->Write(wire::Encode(response))) return stream_->status();
  absl::StatusOr<const v1::StepTrailer*> committed =
      SendUpdate(reply.update, stream_, update_place_);
  if (!committed.ok()) return committed.status();
  *response.mutable_trailer() = reply.Trailer(**committed);
  return stream_->Write(wire::Encode(response)) ? absl::OkStatus()
                                                : stream_->status();
}

}  // namespace concord
