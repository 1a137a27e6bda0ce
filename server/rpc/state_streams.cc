#include "server/rpc/state_streams.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "concord/v1/checkpoint.pb.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"
#include "server/rpc/read_message.h"
#include "server/session/checkpoint.h"
#include "server/session/session.h"

namespace concord {
namespace {

absl::Status OutOfOrder(absl::string_view message, absl::string_view accepted) {
  return InvalidField("PROTOCOL_VIOLATION", "message", message, accepted);
}

}  // namespace

absl::Status ServeExport(SessionRegistry* registry, LiveStream* stream,
                         AdmitToSession admit) {
  const absl::StatusOr<v1::ExportSessionRequest> request =
      ReadRequest<v1::ExportSessionRequest>(stream);
  if (!request.ok()) return request.status();
  const absl::Status admitted = admit(request->name());
  if (!admitted.ok()) return admitted;
  stream->Occupy();
  const absl::StatusOr<std::shared_ptr<Session>> session =
      registry->Get(request->name());
  if (!session.ok()) return session.status();
  stream->set_send_timeout((*session)->send_timeout());
  absl::StatusOr<SessionSnapshot> snapshot = registry->Snapshot(*request);
  if (!snapshot.ok()) return snapshot.status();
  v1::StateChunk chunk;
  return WriteSnapshot(
      *std::move(snapshot), [&](absl::Span<const std::byte> piece) {
        chunk.set_data(piece.data(), piece.size());
        if (stream->Write(wire::Encode(chunk))) return absl::OkStatus();
        const absl::Status reason = stream->status();
        return reason.ok() ? absl::CancelledError("the client has left")
                           : reason;
      });
}

absl::StatusOr<v1::Session> ServeImport(SessionRegistry* registry,
                                        LiveStream* stream,
                                        AdmitToSession admit) {
  const absl::StatusOr<v1::ImportSessionRequest> first =
      ReadRequest<v1::ImportSessionRequest>(stream);
  if (!first.ok()) return first.status();
  if (!first->has_target()) return OutOfOrder("no target", "a target first");
  const v1::ImportSessionRequest::Target& target = first->target();
  const absl::Status admitted = admit(target.name());
  if (!admitted.ok()) return admitted;
  stream->Occupy();
  const absl::StatusOr<uint64_t> most = registry->LargestImport(target);
  if (!most.ok()) return most.status();
  std::string file;
  while (true) {
    const absl::StatusOr<std::optional<v1::ImportSessionRequest>> request =
        ReadMessage<v1::ImportSessionRequest>(stream);
    if (!request.ok()) return request.status();
    if (!request->has_value()) break;
    if (!(*request)->has_chunk()) {
      return OutOfOrder("target", "chunks after the target");
    }
    const std::string& data = (*request)->chunk().data();
    if (file.size() + data.size() > *most) {
      return InvalidField(
          "CHUNK_TOO_LARGE", "chunk.data",
          absl::StrCat(file.size() + data.size(), " bytes in all"),
          absl::StrCat("at most ", *most));
    }
    file += data;
  }
  return registry->Import(
      target, {reinterpret_cast<const std::byte*>(file.data()), file.size()});
}

}  // namespace concord
