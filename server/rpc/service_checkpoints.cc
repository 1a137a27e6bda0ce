// The service's methods about checkpoints.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "server/rpc/service.h"
#include "server/rpc/status.h"

namespace concord {
namespace {

absl::Status Cut() { return absl::CancelledError("the stream was cancelled"); }

absl::Status OutOfOrder(absl::string_view message, absl::string_view accepted) {
  return InvalidField("PROTOCOL_VIOLATION", "message", message, accepted);
}

}  // namespace

grpc::Status Service::CreateCheckpoint(
    grpc::ServerContext*, const v1::CreateCheckpointRequest* request,
    v1::Checkpoint* response) {
  absl::StatusOr<v1::Checkpoint> checkpoint =
      registry_->CreateCheckpoint(*request);
  if (!checkpoint.ok()) return ToGrpc(checkpoint.status());
  *response = *std::move(checkpoint);
  log_->Write("checkpoint_created",
              {{"checkpoint", response->name()},
               {"size_bytes", static_cast<int64_t>(response->size_bytes())}});
  return grpc::Status::OK;
}

grpc::Status Service::ListCheckpoints(grpc::ServerContext*,
                                      const v1::ListCheckpointsRequest* request,
                                      v1::ListCheckpointsResponse* response) {
  absl::StatusOr<v1::ListCheckpointsResponse> list =
      registry_->ListCheckpoints(*request);
  if (!list.ok()) return ToGrpc(list.status());
  *response = *std::move(list);
  return grpc::Status::OK;
}

grpc::Status Service::RestoreSession(grpc::ServerContext*,
                                     const v1::RestoreSessionRequest* request,
                                     v1::Session* response) {
  return Restored("session_restored", registry_->Restore(*request), response);
}

grpc::Status Service::Restored(const char* event,
                               absl::StatusOr<v1::Session> session,
                               v1::Session* response) {
  if (!session.ok()) return ToGrpc(session.status());
  *response = *std::move(session);
  log_->Write(event,
              {{"session", response->name()},
               {"epoch", static_cast<int64_t>(response->epoch())},
               {"step", static_cast<int64_t>(response->committed_step())}});
  return grpc::Status::OK;
}

grpc::Status Service::ExportSession(
    grpc::ServerContext* context, const v1::ExportSessionRequest* request,
    grpc::ServerWriter<v1::StateChunk>* stream) {
  absl::StatusOr<SessionSnapshot> snapshot = registry_->Snapshot(*request);
  if (!snapshot.ok()) return ToGrpc(snapshot.status());
  v1::StateChunk chunk;
  return ToGrpc(WriteSnapshot(
      *std::move(snapshot), [&](absl::Span<const std::byte> piece) {
        if (context->IsCancelled()) return Cut();
        chunk.set_data(piece.data(), piece.size());
        return stream->Write(chunk) ? absl::OkStatus() : Cut();
      }));
}

grpc::Status Service::ImportSession(
    grpc::ServerContext*, grpc::ServerReader<v1::ImportSessionRequest>* stream,
    v1::Session* response) {
  v1::ImportSessionRequest request;
  if (!stream->Read(&request) || !request.has_target()) {
    return ToGrpc(OutOfOrder("no target", "a target first"));
  }
  const v1::ImportSessionRequest::Target target = request.target();
  const absl::StatusOr<uint64_t> most = registry_->LargestImport(target);
  if (!most.ok()) return ToGrpc(most.status());
  std::string file;
  while (stream->Read(&request)) {
    if (!request.has_chunk()) {
      return ToGrpc(OutOfOrder("target", "chunks after the target"));
    }
    const std::string& data = request.chunk().data();
    if (file.size() + data.size() > *most) {
      return ToGrpc(
          InvalidField("CHUNK_TOO_LARGE", "chunk.data",
                       absl::StrCat(file.size() + data.size(), " bytes in all"),
                       absl::StrCat("at most ", *most)));
    }
    file += data;
  }
  return Restored("session_imported",
                  registry_->Import(
                      target, {reinterpret_cast<const std::byte*>(file.data()),
                               file.size()}),
                  response);
}

}  // namespace concord
