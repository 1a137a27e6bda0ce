#include "server/rpc/gate.h"

#include <utility>

#include "grpcpp/security/auth_context.h"
#include "grpcpp/server_context.h"
#include "operators/errors.h"
#include "server/rpc/tls.h"

namespace concord {

absl::StatusOr<Visit> Gate::Find(Visit visit,
                                 absl::string_view authorization) const {
  auto caller = access_->Identify(authorization);
  if (!caller.ok()) {
    visit.caller = std::make_shared<Caller>("", std::vector<Grant>());
    return Pass(visit, caller.status());
  }
  visit.caller = *std::move(caller);
  return visit;
}

absl::StatusOr<Visit> Gate::Identify(const char* method,
                                     const grpc::ServerContext& context) const {
  Visit visit{method, context.peer(), nullptr};
  if (access_ == nullptr) {
    visit.caller = Caller::Trusted(CertificateName(*context.auth_context()));
    return visit;
  }
  const auto found = context.client_metadata().find("authorization");
  return Find(std::move(visit), found == context.client_metadata().end()
                                    ? absl::string_view()
                                    : absl::string_view(found->second.data(),
                                                        found->second.size()));
}

absl::StatusOr<Visit> Gate::IdentifyLocally(
    const char* method, absl::string_view authorization) const {
  Visit visit{method, "local", nullptr};
  if (access_ != nullptr) return Find(std::move(visit), authorization);
  visit.caller = Caller::Trusted("");
  return visit;
}

absl::Status Gate::Pass(const Visit& visit, absl::Status status) const {
  if (status.ok()) return status;
  metrics_->CountDenied(GetErrorReason(status));
  log_->Write("access_denied", {{"method", visit.method},
                                {"peer", visit.peer},
                                {"caller", visit.caller->name()},
                                {"reason", GetErrorReason(status)},
                                {"message", std::string(status.message())}});
  return status;
}

absl::Status Gate::Admit(
    const char* method, const grpc::ServerContext& context,
    absl::FunctionRef<absl::Status(const Caller&)> check) const {
  const absl::StatusOr<Visit> visit = Identify(method, context);
  if (!visit.ok()) return visit.status();
  return Pass(*visit, check(*visit->caller));
}

}  // namespace concord
