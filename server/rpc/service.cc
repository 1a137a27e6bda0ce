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

Service::Service(SessionRegistry* registry, StreamTable* streams,
                 Metrics* metrics, EventLog* log)
    : registry_(registry),
      streams_(streams),
      metrics_(metrics),
      log_(log),
      gate_(log, metrics) {
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
  pipe.End(ServeStep(&pipe, /*local_socket=*/"", [this](const v1::Join& join) {
    const absl::StatusOr<Visit> visit =
        gate_.IdentifyLocally("Step", join.authorization());
    if (!visit.ok()) return visit.status();
    return gate_.Pass(*visit,
                      visit->caller->Check(Right::kStep, join.session()));
  }));
}

absl::Status Service::CheckRead(const Visit& visit, absl::string_view session) {
  return gate_.Pass(visit, visit.caller->Check(Right::kRead, session));
}

absl::Status Service::CheckChange(const Caller& caller,
                                  const std::string& session) {
  // Who may nothing there is not told whether it exists.
  absl::Status status = caller.Check(Right::kStep, session);
  if (!status.ok() || caller.May(0, session)) return status;
  const absl::StatusOr<std::shared_ptr<Session>> found =
      registry_->Get(session);
  return caller.CheckChange(session,
                            found.ok() ? (*found)->options().owner() : "");
}

absl::Status Service::AdmitChange(const char* method,
                                  const grpc::ServerContext& context,
                                  const std::string& session) {
  return gate_.Admit(method, context, [&](const Caller& caller) {
    return CheckChange(caller, session);
  });
}

void Service::LogFailure(const char* event, const absl::Status& status) {
  // The gate has logged whom it has turned away.
  if (status.ok() || absl::IsCancelled(status) ||
      absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status)) {
    return;
  }
  log_->Write(event, {{"code", CodeName(status)},
                      {"reason", GetErrorReason(status)},
                      {"message", std::string(status.message())}});
}

grpc::Status Service::ServeRawStep(grpc::ServerContext* context,
                                   ByteStream* stream) {
  const absl::StatusOr<Visit> visit = gate_.Identify("Step", *context);
  if (!visit.ok()) return ToGrpc(visit.status());
  GrpcPipe pipe(context, stream);
  return ServeStep(&pipe, local_socket_, [&](const v1::Join& join) {
    return gate_.Pass(*visit,
                      visit->caller->Check(Right::kStep, join.session()));
  });
}

grpc::Status Service::ServeStep(MessagePipe* pipe, std::string local_socket,
                                const StepStream::Admit& admit) {
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(pipe);
  if (!live.ok()) return Refuse("Step", live.status());
  absl::Status status;
  {
    StepStream steps(registry_, live->get(), metrics_, std::move(local_socket),
                     admit);
    status = steps.Run();
    metrics_->CountStreamFailure(status);
    // Who was turned away at the gate is in the log already.
    if (!status.ok() && !steps.denied()) {
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
  const absl::StatusOr<Visit> visit = gate_.Identify("Combine", *context);
  if (!visit.ok()) return ToGrpc(visit.status());
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("Combine", live.status());
  const absl::Status status = ServeCombine(registry_, live->get());
  LogFailure("combine_failed", status);
  return ToGrpc(status);
}

grpc::Status Service::ServeRawWatch(grpc::ServerContext* context,
                                    ByteStream* stream) {
  const absl::StatusOr<Visit> visit = gate_.Identify("Watch", *context);
  if (!visit.ok()) return ToGrpc(visit.status());
  GrpcPipe pipe(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live = streams_->Open(&pipe);
  if (!live.ok()) return Refuse("Watch", live.status());
  const absl::Status status = ServeWatch(
      registry_, live->get(),
      [&](absl::string_view session) { return CheckRead(*visit, session); });
  LogFailure("watch_ended", status);
  return ToGrpc(status);
}

grpc::Status Service::CreateSession(grpc::ServerContext* context,
                                    const v1::CreateSessionRequest* request,
                                    v1::Session* response) {
  const absl::StatusOr<Visit> visit = gate_.Identify("CreateSession", *context);
  if (!visit.ok()) return ToGrpc(visit.status());
  absl::Status admitted =
      visit->caller->Check(Right::kStep, request->session_id());
  if (admitted.ok() && !request->restore_from().empty()) {
    admitted = visit->caller->Check(Right::kRead, request->restore_from());
  }
  if (!admitted.ok()) return ToGrpc(gate_.Pass(*visit, admitted));
  absl::StatusOr<v1::Session> session =
      registry_->Create(*request, visit->caller->name());
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

grpc::Status Service::GetSession(grpc::ServerContext* context,
                                 const v1::GetSessionRequest* request,
                                 v1::Session* response) {
  const absl::Status admitted =
      gate_.Admit("GetSession", *context, [&](const Caller& caller) {
        return caller.CheckDescribe(request->name());
      });
  if (!admitted.ok()) return ToGrpc(admitted);
  absl::StatusOr<std::shared_ptr<Session>> session =
      registry_->Get(request->name());
  if (!session.ok()) return ToGrpc(session.status());
  (*session)->Touch();
  *response = (*session)->Describe();
  return grpc::Status::OK;
}

grpc::Status Service::ListSessions(grpc::ServerContext* context,
                                   const v1::ListSessionsRequest* request,
                                   v1::ListSessionsResponse* response) {
  const absl::StatusOr<Visit> visit = gate_.Identify("ListSessions", *context);
  if (!visit.ok()) return ToGrpc(visit.status());
  const Caller& caller = *visit->caller;
  if (!caller.MaySomewhere(static_cast<uint8_t>(Right::kRead))) {
    return ToGrpc(gate_.Pass(*visit, caller.Check(Right::kRead, "")));
  }
  absl::StatusOr<v1::ListSessionsResponse> list = registry_->List(*request);
  if (!list.ok()) return ToGrpc(list.status());
  response->set_next_page_token(list->next_page_token());
  for (v1::Session& session : *list->mutable_sessions()) {
    if (caller.May(static_cast<uint8_t>(Right::kRead), session.name())) {
      *response->add_sessions() = std::move(session);
    }
  }
  return grpc::Status::OK;
}

grpc::Status Service::UpdateSession(grpc::ServerContext* context,
                                    const v1::UpdateSessionRequest* request,
                                    v1::Session* response) {
  const absl::Status admitted =
      AdmitChange("UpdateSession", *context, request->session().name());
  if (!admitted.ok()) return ToGrpc(admitted);
  absl::StatusOr<v1::Session> session = registry_->Update(*request);
  if (!session.ok()) return ToGrpc(session.status());
  *response = *std::move(session);
  log_->Write("session_updated",
              {{"session", response->name()},
               {"paths", absl::StrJoin(request->update_mask().paths(), ",")}});
  return grpc::Status::OK;
}

grpc::Status Service::DeleteSession(grpc::ServerContext* context,
                                    const v1::DeleteSessionRequest* request,
                                    google::protobuf::Empty*) {
  const absl::Status admitted =
      AdmitChange("DeleteSession", *context, request->name());
  if (!admitted.ok()) return ToGrpc(admitted);
  const absl::Status status = registry_->Delete(*request);
  if (status.ok()) {
    log_->Write("session_deleted", {{"session", request->name()}});
    ReturnFreeMemory();
  }
  return ToGrpc(status);
}

grpc::Status Service::Solve(grpc::ServerContext* context,
                            const v1::SolveRequest* request,
                            v1::SolveResponse* response) {
  const absl::Status admitted = gate_.Admit(
      "Solve", *context, [](const Caller&) { return absl::OkStatus(); });
  if (!admitted.ok()) return ToGrpc(admitted);
  absl::StatusOr<v1::SolveResponse> solved =
      concord::Solve(*request, registry_->limits());
  if (!solved.ok()) return ToGrpc(solved.status());
  *response = *std::move(solved);
  return grpc::Status::OK;
}

grpc::Status Service::GetServerInfo(grpc::ServerContext* context,
                                    const v1::GetServerInfoRequest*,
                                    v1::ServerInfo* response) {
  const absl::Status admitted =
      gate_.Admit("GetServerInfo", *context,
                  [](const Caller&) { return absl::OkStatus(); });
  if (!admitted.ok()) return ToGrpc(admitted);
  *response = Describe();
  return grpc::Status::OK;
}

v1::ServerInfo Service::Describe() const {
  v1::ServerInfo info;
  registry_->Describe(&info);
  info.set_version(kVersion);
  info.set_streams(streams_->size());
  if (shared_memory_ != nullptr) {
    info.set_max_shared_memory_bytes(shared_memory_limit_);
    info.set_shared_memory_bytes(shared_memory_->reserved_bytes());
  }
  return info;
}

}  // namespace concord
