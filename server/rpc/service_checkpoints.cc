// The service's methods about checkpoints.
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/wire/codec.h"
#include "server/rpc/service.h"
#include "server/rpc/state_streams.h"
#include "server/rpc/status.h"

namespace concord {
grpc::Status Service::CreateCheckpoint(
    grpc::ServerContext* context, const v1::CreateCheckpointRequest* request,
    v1::Checkpoint* response) {
  const absl::StatusOr<Visit> admitted =
      AdmitChange("CreateCheckpoint", *context, request->session());
  if (!admitted.ok()) return ToGrpc(admitted.status());
  absl::StatusOr<v1::Checkpoint> checkpoint =
      registry_->CreateCheckpoint(*request);
  if (!checkpoint.ok()) return ToGrpc(checkpoint.status());
  *response = *std::move(checkpoint);
  log_->Write("checkpoint_created",
              {{"checkpoint", response->name()},
               {"size_bytes", static_cast<int64_t>(response->size_bytes())}},
              admitted->trace);
  return grpc::Status::OK;
}

grpc::Status Service::ListCheckpoints(grpc::ServerContext* context,
                                      const v1::ListCheckpointsRequest* request,
                                      v1::ListCheckpointsResponse* response) {
  const absl::StatusOr<Visit> admitted =
      gate_.Admit("ListCheckpoints", *context, [&](const Caller& caller) {
        return caller.Check(Right::kRead, request->session());
      });
  if (!admitted.ok()) return ToGrpc(admitted.status());
  absl::StatusOr<v1::ListCheckpointsResponse> list =
      registry_->ListCheckpoints(*request);
  if (!list.ok()) return ToGrpc(list.status());
  *response = *std::move(list);
  return grpc::Status::OK;
}

grpc::Status Service::RestoreSession(grpc::ServerContext* context,
                                     const v1::RestoreSessionRequest* request,
                                     v1::Session* response) {
  const absl::StatusOr<Visit> admitted =
      gate_.Admit("RestoreSession", *context, [&](const Caller& caller) {
        const absl::Status status = CheckChange(caller, request->name());
        // Another session's checkpoint is that session's state.
        const bool reads_other =
            !request->checkpoint().empty() &&
            !absl::StartsWith(request->checkpoint(),
                              absl::StrCat(request->name(), "/"));
        if (!status.ok() || !reads_other) return status;
        return caller.Check(Right::kRead, request->checkpoint());
      });
  if (!admitted.ok()) return ToGrpc(admitted.status());
  return Restored("session_restored", registry_->Restore(*request),
                  admitted->trace, response);
}

grpc::Status Service::Restored(const char* event,
                               absl::StatusOr<v1::Session> session,
                               const TraceContext& trace,
                               v1::Session* response) {
  if (!session.ok()) return Answer(session.status());
  *response = *std::move(session);
  log_->Write(event,
              {{"session", response->name()},
               {"epoch", static_cast<int64_t>(response->epoch())},
               {"step", static_cast<int64_t>(response->committed_step())}},
              trace);
  return grpc::Status::OK;
}

grpc::Status Service::ServeRawExport(grpc::ServerContext* context,
                                     ByteStream* stream) {
  const absl::StatusOr<OpenStream> open =
      Open("ExportSession", context, stream);
  if (!open.ok()) return Answer(open.status());
  const absl::Status status =
      ServeExport(registry_, open->live.get(), [&](absl::string_view session) {
        return CheckRead(open->visit, session);
      });
  LogFailure("export_failed", status, open->visit.trace);
  return Answer(status);
}

grpc::Status Service::ServeRawImport(grpc::ServerContext* context,
                                     ByteStream* stream) {
  const absl::StatusOr<OpenStream> open =
      Open("ImportSession", context, stream);
  if (!open.ok()) return Answer(open.status());
  LiveStream* const live = open->live.get();
  absl::StatusOr<v1::Session> session =
      ServeImport(registry_, live, [&](absl::string_view name) {
        return gate_.Pass(open->visit,
                          CheckChange(*open->visit.caller, std::string(name)));
      });
  LogFailure("import_failed", session.status(), open->visit.trace);
  v1::Session response;
  const grpc::Status status = Restored("session_imported", std::move(session),
                                       open->visit.trace, &response);
  if (status.ok() && !live->Write(wire::Encode(response))) {
    return ToGrpc(live->status());
  }
  return status;
}

}  // namespace concord
