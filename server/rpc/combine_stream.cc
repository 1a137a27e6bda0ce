#include "server/rpc/combine_stream.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "concord/v1/combine.pb.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"
#include "server/rpc/update_sender.h"

namespace concord {
namespace {

absl::Status OutOfOrder(absl::string_view got, absl::string_view accepted) {
  return InvalidField("PROTOCOL_VIOLATION", "message", got, accepted);
}

absl::string_view MessageName(const v1::CombineRequest& request) {
  if (request.has_header()) return "header";
  return request.has_chunk() ? "chunk" : "(none)";
}

// One message; `expected` is what to say where the client has ended the stream.
absl::Status ReadMessage(LiveStream* stream, absl::string_view expected,
                         v1::CombineRequest* request, wire::Payload* data) {
  grpc::ByteBuffer buffer;
  if (!stream->Read(&buffer)) {
    absl::Status status = stream->status();
    return status.ok() ? OutOfOrder("end of the stream", expected) : status;
  }
  if (wire::Decode(buffer, request, data)) return absl::OkStatus();
  return OutOfOrder(absl::StrCat(buffer.Length(), " bytes"),
                    "a concord.v1.CombineRequest");
}

absl::Status Send(const v1::CombineResponse& response, LiveStream* stream) {
  return stream->Write(wire::Encode(response)) ? absl::OkStatus()
                                               : stream->status();
}

}  // namespace

absl::Status ServeCombine(SessionRegistry* registry,
                          const std::shared_ptr<CallerAccount>& account,
                          LiveStream* stream) {
  v1::CombineRequest request;
  wire::Payload data;
  absl::Status status = ReadMessage(stream, "header", &request, &data);
  if (!status.ok()) return status;
  if (!request.has_header()) {
    return OutOfOrder(MessageName(request), "header first");
  }
  stream->Occupy();
  absl::StatusOr<std::unique_ptr<CombineCall>> call =
      registry->StartCombine(request.header(), account);
  if (!call.ok()) return call.status();
  while (!(*call)->complete()) {
    status = ReadMessage(stream, "chunk", &request, &data);
    if (!status.ok()) return status;
    if (!request.has_chunk()) {
      return OutOfOrder(MessageName(request), "chunk");
    }
    status = (*call)->Append({.vector = request.chunk().vector(),
                              .offset = request.chunk().offset(),
                              .size = data.size()},
                             data.fragments());
    if (!status.ok()) return status;
  }
  absl::StatusOr<CombineReply> reply = (*call)->Finish();
  if (!reply.ok()) return reply.status();
  v1::CombineResponse response;
  *response.mutable_result() = std::move(reply->result);
  status = Send(response, stream);
  if (!status.ok()) return status;
  absl::StatusOr<const v1::StepTrailer*> committed =
      SendUpdate(reply->update, stream);
  if (!committed.ok()) return committed.status();
  response.mutable_trailer()->set_checksum((*committed)->checksum());
  return Send(response, stream);
}

}  // namespace concord
