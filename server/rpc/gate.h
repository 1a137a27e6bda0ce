// Asks of every call who makes it and whether he may, and logs, once, who is
// turned away.
#ifndef CONCORD_SERVER_RPC_GATE_H_
#define CONCORD_SERVER_RPC_GATE_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/wire/trace_context.h"
#include "server/rpc/access.h"
#include "server/rpc/event_log.h"
#include "server/rpc/metrics.h"

namespace grpc {
class ServerContext;
}

namespace concord {

// A call whose caller is known.
struct Visit {
  const char* method;
  std::string peer;  // "ipv4:127.0.0.1:43071"; "local" on the local socket.
  std::shared_ptr<const Caller> caller;
  TraceContext trace;
};

// Whom the call counts for: the caller's name; without one his address, which
// is "local" for everybody on the server's machine.
std::string AccountName(const Visit& visit);

// Threads: safe once SetAccess was called.
class Gate {
 public:
  // Neither is owned; both outlive the gate.
  Gate(EventLog* log, Metrics* metrics) : log_(log), metrics_(metrics) {}

  // Callers are known by their tokens. Not owned. Without it everybody may do
  // everything, and is called what his certificate says.
  void SetAccess(const AccessControl* access) { access_ = access; }

  // UNAUTHENTICATED where the caller is not known.
  absl::StatusOr<Visit> Identify(const char* method,
                                 const grpc::ServerContext& context) const;
  // The same where the caller says it in a message.
  absl::StatusOr<Visit> IdentifyLocally(const char* method,
                                        absl::string_view authorization,
                                        absl::string_view traceparent) const;

  // `status`, after it was logged and counted if it is not OK: what the caller
  // may not.
  absl::Status Pass(const Visit& visit, absl::Status status) const;

  // Identify, and Pass with what `check` says.
  absl::StatusOr<Visit> Admit(
      const char* method, const grpc::ServerContext& context,
      absl::FunctionRef<absl::Status(const Caller&)> check) const;

 private:
  absl::StatusOr<Visit> Find(Visit visit,
                             absl::string_view authorization) const;

  EventLog* const log_;
  Metrics* const metrics_;
  const AccessControl* access_ = nullptr;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_GATE_H_
