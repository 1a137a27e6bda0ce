// The service's methods about checkpoints.
#include <memory>
#include <utility>

#include "proto/wire/codec.h"
#include "server/rpc/service.h"
#include "server/rpc/state_streams.h"
#include "server/rpc/status.h"

namespace concord {
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

grpc::Status Service::ServeRawExport(grpc::ServerContext* context,
                                     ByteStream* stream) {
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("ExportSession", live.status());
  const absl::Status status = ServeExport(registry_, live->get());
  LogFailure("export_failed", status);
  return ToGrpc(status);
}

grpc::Status Service::ServeRawImport(grpc::ServerContext* context,
                                     ByteStream* stream) {
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("ImportSession", live.status());
  absl::StatusOr<v1::Session> session = ServeImport(registry_, live->get());
  LogFailure("import_failed", session.status());
  v1::Session response;
  const grpc::Status status =
      Restored("session_imported", std::move(session), &response);
  if (status.ok() && !(*live)->Write(wire::Encode(response))) {
    return ToGrpc((*live)->status());
  }
  return status;
}

}  // namespace concord
