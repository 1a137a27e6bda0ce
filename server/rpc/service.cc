#include "server/rpc/service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "concord/v1/concord.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/generated_message_reflection.h"
#include "google/protobuf/util/time_util.h"
#include "grpcpp/support/method_handler.h"
#include "operators/errors.h"
#include "server/rpc/process.h"
#include "server/rpc/solve.h"
#include "server/rpc/status.h"
#include "server/rpc/version.h"
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
      gate_(log, metrics),
      started_at_(registry->Now()) {
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

grpc::Status Service::Answer(const absl::Status& status) {
  metrics_->CountLimited(status);
  return ToGrpc(status);
}

std::shared_ptr<CallerAccount> Service::Account(const Visit& visit) {
  return registry_->callers().Find(AccountName(visit), visit.caller->limits());
}

void Service::OfferLocalSocket(std::string name,
                               std::shared_ptr<MemoryBudget> budget,
                               uint64_t budget_bytes) {
  local_socket_ = std::move(name);
  shared_memory_ = std::move(budget);
  shared_memory_limit_ = budget_bytes;
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

absl::StatusOr<Visit> Service::AdmitChange(const char* method,
                                           const grpc::ServerContext& context,
                                           const std::string& session) {
  return gate_.Admit(method, context, [&](const Caller& caller) {
    return CheckChange(caller, session);
  });
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
  const std::shared_ptr<CallerAccount> account = Account(*visit);
  absl::StatusOr<v1::Session> session =
      registry_->Create(*request, visit->caller->name(), account);
  if (!session.ok()) {
    // Ranks that find their session made by another one are no event.
    if (session.status().code() != absl::StatusCode::kAlreadyExists) {
      log_->Write("session_refused",
                  {{"session", request->session_id()},
                   {"caller", account->name()},
                   {"code", CodeName(session.status())},
                   {"reason", GetErrorReason(session.status())},
                   {"message", std::string(session.status().message())}},
                  visit->trace);
    }
    return Answer(session.status());
  }
  *response = *std::move(session);
  log_->Write(
      "session_created",
      {{"session", response->name()},
       {"uid", response->uid()},
       {"num_vectors", int64_t{response->num_vectors()}},
       {"num_parameters", static_cast<int64_t>(response->num_parameters())},
       {"num_workers", int64_t{response->num_workers()}},
       {"memory_bytes", static_cast<int64_t>(response->memory_bytes())}},
      visit->trace);
  return grpc::Status::OK;
}

grpc::Status Service::GetSession(grpc::ServerContext* context,
                                 const v1::GetSessionRequest* request,
                                 v1::Session* response) {
  const absl::StatusOr<Visit> admitted =
      gate_.Admit("GetSession", *context, [&](const Caller& caller) {
        return caller.CheckDescribe(request->name());
      });
  if (!admitted.ok()) return ToGrpc(admitted.status());
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
  const absl::StatusOr<Visit> admitted =
      AdmitChange("UpdateSession", *context, request->session().name());
  if (!admitted.ok()) return ToGrpc(admitted.status());
  absl::StatusOr<v1::Session> session = registry_->Update(*request);
  if (!session.ok()) return ToGrpc(session.status());
  *response = *std::move(session);
  log_->Write("session_updated",
              {{"session", response->name()},
               {"paths", absl::StrJoin(request->update_mask().paths(), ",")}},
              admitted->trace);
  return grpc::Status::OK;
}

grpc::Status Service::UpdateLayout(grpc::ServerContext* context,
                                   const v1::UpdateLayoutRequest* request,
                                   v1::Session* response) {
  const absl::StatusOr<Visit> admitted =
      AdmitChange("UpdateLayout", *context, request->name());
  if (!admitted.ok()) return ToGrpc(admitted.status());
  absl::StatusOr<v1::Session> session = registry_->UpdateLayout(*request);
  if (!session.ok()) return Answer(session.status());
  *response = *std::move(session);
  log_->Write("layout_updated",
              {{"session", response->name()},
               {"num_parameters", absl::StrCat(response->num_parameters())}},
              admitted->trace);
  ReturnFreeMemory();
  return grpc::Status::OK;
}

grpc::Status Service::DeleteSession(grpc::ServerContext* context,
                                    const v1::DeleteSessionRequest* request,
                                    google::protobuf::Empty*) {
  const absl::StatusOr<Visit> admitted =
      AdmitChange("DeleteSession", *context, request->name());
  if (!admitted.ok()) return ToGrpc(admitted.status());
  const absl::Status status = registry_->Delete(*request);
  if (status.ok()) {
    log_->Write("session_deleted", {{"session", request->name()}},
                admitted->trace);
    ReturnFreeMemory();
  }
  return ToGrpc(status);
}

grpc::Status Service::Solve(grpc::ServerContext* context,
                            const v1::SolveRequest* request,
                            v1::SolveResponse* response) {
  const absl::StatusOr<Visit> admitted = gate_.Admit(
      "Solve", *context, [](const Caller&) { return absl::OkStatus(); });
  if (!admitted.ok()) return ToGrpc(admitted.status());
  absl::StatusOr<v1::SolveResponse> solved =
      concord::Solve(*request, registry_->limits());
  if (!solved.ok()) return Answer(solved.status());
  *response = *std::move(solved);
  return grpc::Status::OK;
}

grpc::Status Service::GetServerInfo(grpc::ServerContext* context,
                                    const v1::GetServerInfoRequest*,
                                    v1::ServerInfo* response) {
  const absl::StatusOr<Visit> admitted =
      gate_.Admit("GetServerInfo", *context,
                  [](const Caller&) { return absl::OkStatus(); });
  if (!admitted.ok()) return ToGrpc(admitted.status());
  *response = Describe();
  return grpc::Status::OK;
}

grpc::Status Service::GetServerStatistics(
    grpc::ServerContext* context, const v1::GetServerStatisticsRequest* request,
    v1::ServerStatistics* response) {
  const std::string& name = request->session();
  const absl::StatusOr<Visit> visit =
      gate_.Admit("GetServerStatistics", *context, [&](const Caller& caller) {
        return name.empty() ? absl::OkStatus() : caller.CheckDescribe(name);
      });
  if (!visit.ok()) return ToGrpc(visit.status());
  absl::StatusOr<std::vector<v1::SessionStatistics>> sessions =
      registry_->ReadStatistics(name);
  if (!sessions.ok()) return ToGrpc(sessions.status());
  *response->mutable_start_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(started_at_));
  if (name.empty()) *response->mutable_total() = metrics_->Read();
  for (v1::SessionStatistics& session : *sessions) {
    if (visit->caller->CheckDescribe(session.session()).ok()) {
      *response->add_sessions() = std::move(session);
    }
  }
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
