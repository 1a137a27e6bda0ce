// The methods of concord.v1.Concord: decode, call, encode.
#ifndef CONCORD_SERVER_RPC_SERVICE_H_
#define CONCORD_SERVER_RPC_SERVICE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "concord/v1/concord.grpc.pb.h"
#include "proto/local/file_descriptor.h"
#include "proto/wire/trace_context.h"
#include "server/rpc/access.h"
#include "server/rpc/event_log.h"
#include "server/rpc/gate.h"
#include "server/rpc/grpc_pipe.h"
#include "server/rpc/metrics.h"
#include "server/rpc/step_stream.h"
#include "server/rpc/stream_table.h"
#include "server/session/memory_budget.h"
#include "server/session/registry.h"

namespace concord {

inline constexpr char kServiceName[] = "concord.v1.Concord";

// Step, Combine and Watch are served as raw streams (ByteBuffers); the other
// methods come from the generated service. Threads: safe.
class Service final : public v1::Concord::Service {
 public:
  // None is owned; all outlive the service.
  Service(SessionRegistry* registry, StreamTable* streams, Metrics* metrics,
          EventLog* log);

  // To be called before anything is served, if at all: workers of this machine
  // are told of the socket, and pass as much memory as `budget` has.
  void OfferLocalSocket(std::string name, std::shared_ptr<MemoryBudget> budget,
                        uint64_t budget_bytes);

  // To be called before anything is served, if at all: callers are known by
  // their tokens. Not owned.
  void SetAccess(const AccessControl* access) { gate_.SetAccess(access); }

  // What GetServerInfo answers.
  v1::ServerInfo Describe() const;

  // service_streams.cc has the raw streams but for those of states
  // (service_checkpoints.cc).

  // A worker's stream on that socket.
  void ServeLocalStep(FileDescriptor socket);

  grpc::Status CreateSession(grpc::ServerContext* context,
                             const v1::CreateSessionRequest* request,
                             v1::Session* response) override;
  grpc::Status GetSession(grpc::ServerContext* context,
                          const v1::GetSessionRequest* request,
                          v1::Session* response) override;
  grpc::Status ListSessions(grpc::ServerContext* context,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override;
  grpc::Status UpdateSession(grpc::ServerContext* context,
                             const v1::UpdateSessionRequest* request,
                             v1::Session* response) override;
  grpc::Status UpdateLayout(grpc::ServerContext* context,
                            const v1::UpdateLayoutRequest* request,
                            v1::Session* response) override;
  grpc::Status DeleteSession(grpc::ServerContext* context,
                             const v1::DeleteSessionRequest* request,
                             google::protobuf::Empty* response) override;
  // service_checkpoints.cc
  grpc::Status CreateCheckpoint(grpc::ServerContext* context,
                                const v1::CreateCheckpointRequest* request,
                                v1::Checkpoint* response) override;
  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override;
  grpc::Status RestoreSession(grpc::ServerContext* context,
                              const v1::RestoreSessionRequest* request,
                              v1::Session* response) override;
  grpc::Status Solve(grpc::ServerContext* context,
                     const v1::SolveRequest* request,
                     v1::SolveResponse* response) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const v1::GetServerInfoRequest* request,
                             v1::ServerInfo* response) override;
  grpc::Status GetServerStatistics(
      grpc::ServerContext* context,
      const v1::GetServerStatisticsRequest* request,
      v1::ServerStatistics* response) override;

 private:
  // A raw stream of a caller who is known, and for whom it counts. What ends
  // first stands last.
  struct OpenStream {
    Visit visit;
    std::shared_ptr<CallerAccount> account;
    std::unique_ptr<CallerAccount::Use> use;
    std::unique_ptr<GrpcPipe> pipe;
    std::unique_ptr<LiveStream> live;
  };
  absl::StatusOr<OpenStream> Open(const char* method,
                                  grpc::ServerContext* context,
                                  ByteStream* stream);
  std::shared_ptr<CallerAccount> Account(const Visit& visit);

  // Of those who may change the session.
  absl::StatusOr<Visit> AdmitChange(const char* method,
                                    const grpc::ServerContext& context,
                                    const std::string& session);
  absl::Status CheckChange(const Caller& caller, const std::string& session);
  // Whether the caller of a stream may read the session that it names.
  absl::Status CheckRead(const Visit& visit, absl::string_view session);
  // `admit`: of the stream's first message.
  grpc::Status ServeStep(LiveStream* live, std::string local_socket,
                         const StepStream::Admit& admit);
  grpc::Status ServeRawStep(grpc::ServerContext* context, ByteStream* stream);
  grpc::Status ServeRawCombine(grpc::ServerContext* context,
                               ByteStream* stream);
  // The answer of a method that has put a session back, and the log of it.
  grpc::Status Restored(const char* event, absl::StatusOr<v1::Session> session,
                        const TraceContext& trace, v1::Session* response);
  grpc::Status ServeRawWatch(grpc::ServerContext* context, ByteStream* stream);
  grpc::Status ServeRawExport(grpc::ServerContext* context, ByteStream* stream);
  grpc::Status ServeRawImport(grpc::ServerContext* context, ByteStream* stream);
  // Clients leave when they like: that is no event.
  void LogFailure(const char* event, const absl::Status& status,
                  const TraceContext& trace);
  // The log of a stream that is not served, and its status.
  absl::Status Refuse(const Visit& visit, const absl::Status& status);
  // What a call ends with, counted where a limit has refused it.
  grpc::Status Answer(const absl::Status& status);

  SessionRegistry* const registry_;
  StreamTable* const streams_;
  Metrics* const metrics_;
  EventLog* const log_;
  Gate gate_;
  std::string local_socket_;  // Empty: there is none.
  std::shared_ptr<MemoryBudget> shared_memory_;
  uint64_t shared_memory_limit_ = 0;
  const absl::Time started_at_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_SERVICE_H_
