#include "server/rpc/service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "concord/v1/concord.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/generated_message_reflection.h"
#include "grpcpp/support/method_handler.h"
#include "operators/errors.h"
#include "server/rpc/combine_stream.h"
#include "server/rpc/local_pipe.h"
#include "server/rpc/process.h"
#include "server/rpc/solve.h"
#include "server/rpc/status.h"
#include "server/rpc/step_stream.h"
#include "server/rpc/version.h"
#include "server/rpc/watch_stream.h"
#include "server/session/session.h"

namespace concord {
namespace {

// Where the generated service registered a method.
int MethodIndex(const char* name) {
  // A file that describes a service and no messages is referred to by nobody:
  // this makes the linker take it, for here and for the reflection service.
  static const google::protobuf::internal::AddDescriptorsRunner linked(
      &descriptor_table_concord_2fv1_2fconcord_2eproto);
  return google::protobuf::DescriptorPool::generated_pool()
      ->FindServiceByName(kServiceName)
      ->FindMethodByName(name)
      ->index();
}

std::string CodeName(const absl::Status& status) {
  return absl::StatusCodeToString(status.code());
}

}  // namespace

Service::Service(SessionRegistry* registry, StreamTable* streams, EventLog* log)
    : registry_(registry), streams_(streams), log_(log) {
  using Handler =
      grpc::internal::BidiStreamingHandler<Service, grpc::ByteBuffer,
                                           grpc::ByteBuffer>;
  const auto serve = [this](const char* name,
                            grpc::Status (Service::*method)(
                                grpc::ServerContext*, ByteStream*)) {
    MarkMethodStreamed(
        MethodIndex(name),
        new Handler(
            [method](Service* service, grpc::ServerContext* context,
                     ByteStream* stream) {
              return (service->*method)(context, stream);
            },
            this));
  };
  serve("Step", &Service::ServeRawStep);
  serve("Combine", &Service::ServeRawCombine);
  serve("Watch", &Service::ServeRawWatch);
  serve("ExportSession", &Service::ServeRawExport);
  serve("ImportSession", &Service::ServeRawImport);
}

grpc::Status Service::Refuse(const char* method, const absl::Status& status) {
  log_->Write("stream_refused", {{"method", method},
                                 {"code", CodeName(status)},
                                 {"reason", GetErrorReason(status)}});
  return ToGrpc(status);
}

void Service::OfferLocalSocket(std::string name,
                               std::shared_ptr<MemoryBudget> budget,
                               uint64_t budget_bytes) {
  local_socket_ = std::move(name);
  shared_memory_ = std::move(budget);
  shared_memory_limit_ = budget_bytes;
}

void Service::ServeLocalStep(FileDescriptor socket) {
  LocalPipe pipe(std::move(socket), shared_memory_);
  pipe.End(ServeStep(&pipe, /*local_socket=*/""));
}

void Service::LogFailure(const char* event, const absl::Status& status) {
  if (status.ok() || absl::IsCancelled(status)) return;
  log_->Write(event, {{"code", CodeName(status)},
                      {"reason", GetErrorReason(status)},
                      {"message", std::string(status.message())}});
}

grpc::Status Service::ServeRawStep(grpc::ServerContext* context,
                                   ByteStream* stream) {
  GrpcPipe pipe(context, stream);
  return ServeStep(&pipe, local_socket_);
}

grpc::Status Service::ServeStep(MessagePipe* pipe, std::string local_socket) {
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(pipe);
  if (!live.ok()) return Refuse("Step", live.status());
  absl::Status status;
  {
    StepStream steps(registry_, live->get(), std::move(local_socket));
    status = steps.Run();
    if (!status.ok()) {
      log_->Write("stream_failed",
                  {{"session", steps.session()},
                   {"rank", int64_t{steps.rank()}},
                   {"step", static_cast<int64_t>(steps.step())},
                   {"code", CodeName(status)},
                   {"reason", GetErrorReason(status)},
                   {"message", std::string(status.message())}});
    }
  }
  return ToGrpc(status);
}

grpc::Status Service::ServeRawCombine(grpc::ServerContext* context,
                                      ByteStream* stream) {
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("Combine", live.status());
  const absl::Status status = ServeCombine(registry_, live->get());
  LogFailure("combine_failed", status);
  return ToGrpc(status);
}

grpc::Status Service::ServeRawWatch(grpc::ServerContext* context,
                                    ByteStream* stream) {
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("Watch", live.status());
  const absl::Status status = ServeWatch(registry_, live->get());
  LogFailure("watch_ended", status);
  return ToGrpc(status);
}

grpc::Status Service::CreateSession(grpc::ServerContext*,
                                    const v1::CreateSessionRequest* request,
                                    v1::Session* response) {
  absl::StatusOr<v1::Session> session = registry_->Create(*request);
  if (!session.ok()) {
    // Ranks that find their session made by another one are no event.
    if (session.status().code() != absl::StatusCode::kAlreadyExists) {
      log_->Write("session_refused",
                  {{"session", request->session_id()},
                   {"code", CodeName(session.status())},
                   {"reason", GetErrorReason(session.status())},
                   {"message", std::string(session.status().message())}});
    }
    return ToGrpc(session.status());
  }
  *response = *std::move(session);
  log_->Write(
      "session_created",
      {{"session", response->name()},
       {"uid", response->uid()},
       {"num_vectors", int64_t{response->num_vectors()}},
       {"num_parameters", static_cast<int64_t>(response->num_parameters())},
       {"num_workers", int64_t{response->num_workers()}},
       {"memory_bytes", static_cast<int64_t>(response->memory_bytes())}});
  return grpc::Status::OK;
}

grpc::Status Service::GetSession(grpc::ServerContext*,
                                 const v1::GetSessionRequest* request,
                                 v1::Session* response) {
  absl::StatusOr<std::shared_ptr<Session>> session =
      registry_->Get(request->name());
  if (!session.ok()) return ToGrpc(session.status());
  (*session)->Touch();
  *response = (*session)->Describe();
  return grpc::Status::OK;
}

grpc::Status Service::ListSessions(grpc::ServerContext*,
                                   const v1::ListSessionsRequest* request,
                                   v1::ListSessionsResponse* response) {
  absl::StatusOr<v1::ListSessionsResponse> list = registry_->List(*request);
  if (!list.ok()) return ToGrpc(list.status());
  *response = *std::move(list);
  return grpc::Status::OK;
}

grpc::Status Service::UpdateSession(grpc::ServerContext*,
                                    const v1::UpdateSessionRequest* request,
                                    v1::Session* response) {
  absl::StatusOr<v1::Session> session = registry_->Update(*request);
  if (!session.ok()) return ToGrpc(session.status());
  *response = *std::move(session);
  log_->Write("session_updated",
              {{"session", response->name()},
               {"paths", absl::StrJoin(request->update_mask().paths(), ",")}});
  return grpc::Status::OK;
}

grpc::Status Service::DeleteSession(grpc::ServerContext*,
                                    const v1::DeleteSessionRequest* request,
                                    google::protobuf::Empty*) {
  const absl::Status status = registry_->Delete(*request);
  if (status.ok()) {
    log_->Write("session_deleted", {{"session", request->name()}});
    ReturnFreeMemory();
  }
  return ToGrpc(status);
}

grpc::Status Service::Solve(grpc::ServerContext*,
                            const v1::SolveRequest* request,
                            v1::SolveResponse* response) {
  absl::StatusOr<v1::SolveResponse> solved =
      concord::Solve(*request, registry_->limits());
  if (!solved.ok()) return ToGrpc(solved.status());
  *response = *std::move(solved);
  return grpc::Status::OK;
}

grpc::Status Service::GetServerInfo(grpc::ServerContext*,
                                    const v1::GetServerInfoRequest*,
                                    v1::ServerInfo* response) {
  registry_->Describe(response);
  response->set_version(kVersion);
  response->set_streams(streams_->size());
  if (shared_memory_ != nullptr) {
    response->set_max_shared_memory_bytes(shared_memory_limit_);
    response->set_shared_memory_bytes(shared_memory_->reserved_bytes());
  }
  return grpc::Status::OK;
}

}  // namespace concord
