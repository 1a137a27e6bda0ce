#include "server/rpc/gate.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/server_context.h"
#include "operators/errors.h"
#include "proto/local/loopback.h"
#include "server/rpc/tls.h"

namespace concord {
namespace {

// "" where there is none.
absl::string_view Metadata(const grpc::ServerContext& context,
                           const char* name) {
  const auto found = context.client_metadata().find(name);
  if (found == context.client_metadata().end()) return "";
  return {found->second.data(), found->second.size()};
}

}  // namespace

std::string AccountName(const Visit& visit) {
  if (!visit.caller->name().empty()) return visit.caller->name();
  // As gRPC writes it: ipv6:%5B::1%5D:43071.
  std::string host = absl::StrReplaceAll(
      visit.peer.substr(0, visit.peer.rfind(':')), {{"%5B", ""}, {"%5D", ""}});
  const size_t kind = host.find(':');
  if (!absl::StartsWith(host, "ipv")) return "local";
  host.erase(0, kind + 1);
  return local::IsLoopback(host) ? "local" : host;
}

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
  Visit visit{method, context.peer(), nullptr,
              ParseTraceparent(Metadata(context, kTraceparent))};
  if (access_ == nullptr) {
    visit.caller = Caller::Trusted(CertificateName(*context.auth_context()));
    return visit;
  }
  return Find(std::move(visit), Metadata(context, "authorization"));
}

absl::StatusOr<Visit> Gate::IdentifyLocally(
    const char* method, absl::string_view authorization,
    absl::string_view traceparent) const {
  Visit visit{method, "local", nullptr, ParseTraceparent(traceparent)};
  if (access_ != nullptr) return Find(std::move(visit), authorization);
  visit.caller = Caller::Trusted("");
  return visit;
}

absl::Status Gate::Pass(const Visit& visit, absl::Status status) const {
  if (status.ok()) return status;
  metrics_->CountDenied(GetErrorReason(status));
  log_->Write("access_denied",
              {{"method", visit.method},
               {"peer", visit.peer},
               {"caller", visit.caller->name()},
               {"reason", GetErrorReason(status)},
               {"message", std::string(status.message())}},
              visit.trace);
  return status;
}

absl::StatusOr<Visit> Gate::Admit(
    const char* method, const grpc::ServerContext& context,
    absl::FunctionRef<absl::Status(const Caller&)> check) const {
  absl::StatusOr<Visit> visit = Identify(method, context);
  if (!visit.ok()) return visit;
  const absl::Status status = Pass(*visit, check(*visit->caller));
  if (!status.ok()) return status;
  return visit;
}

}  // namespace concord
