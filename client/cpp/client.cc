#include "client/cpp/client.h"

#include <cmath>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/channel.h"
#include "client/cpp/limit.h"
#include "client/cpp/process_guard.h"
#include "client/cpp/remote_combine.h"
#include "client/cpp/retry.h"
#include "client/cpp/session_impl.h"
#include "client/cpp/status.h"
#include "client/cpp/step_watch_impl.h"
#include "concord/v1/concord.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "operators/errors.h"

namespace concord {
namespace {

using Stub = v1::Concord::Stub;

constexpr size_t kStateChunkBytes = 1 << 20;

absl::Status ValidateOptions(const ClientOptions& options) {
  if (options.chunk_bytes == 0) {
    return InvalidField("INVALID_OPTION", "chunk_bytes", "0",
                        "a number of bytes >= 1");
  }
  // Servers take more frequent questions for an attack.
  if (options.keepalive_time < absl::Seconds(10)) {
    return InvalidField("INVALID_OPTION", "keepalive_time",
                        absl::FormatDuration(options.keepalive_time),
                        "a duration >= 10s");
  }
  if (options.keepalive_timeout <= absl::ZeroDuration()) {
    return InvalidField("INVALID_OPTION", "keepalive_timeout",
                        absl::FormatDuration(options.keepalive_timeout),
                        "a duration > 0");
  }
  const absl::Status status =
      ValidateTraceparent("traceparent", options.traceparent);
  return status.ok() ? Validate(options.retry) : status;
}

}  // namespace

class Client::Impl {
 public:
  Impl(absl::string_view server, const ClientOptions& options)
      : server_(server), options_(options) {}

  bool forked() const { return guard_.forked(); }
  absl::Status CheckProcess() const { return guard_.Check(); }
  const std::string& server() const { return server_; }
  const ClientOptions& options() const { return options_; }

  // One unary call, tried again while the server is UNAVAILABLE. `tries` (may
  // be null) gets the number of failed tries before the last.
  template <class Request, class Response>
  absl::StatusOr<Response> Call(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request, const CallOptions& options,
      uint32_t* failed_tries = nullptr) {
    return Try<Response>(
        [&](Stub* stub, grpc::ClientContext* context, Response* response) {
          return (stub->*method)(context, request, response);
        },
        options, failed_tries);
  }

  // `call(stub, context, &response)`, as often as it takes.
  template <class Response, class Function>
  absl::StatusOr<Response> Try(const Function& call, const CallOptions& options,
                               uint32_t* failed_tries = nullptr) {
    return TryLines<Response>(
        [&](const StubLine& line, grpc::ClientContext* context,
            Response* response) {
          return call(line.stub.get(), context, response);
        },
        options, failed_tries);
  }

  // `call(line, context, &response)`: of another service.
  template <class Response, class Function>
  absl::StatusOr<Response> TryOn(const Function& call,
                                 const CallOptions& options) {
    return TryLines<Response>(
        [&](const StubLine& line, grpc::ClientContext* context,
            Response* response) { return call(line.line, context, response); },
        options, nullptr);
  }

 private:
  struct StubLine {
    Line line;
    std::unique_ptr<Stub> stub;
  };

  template <class Response, class Function>
  absl::StatusOr<Response> TryLines(const Function& call,
                                    const CallOptions& options,
                                    uint32_t* failed_tries) {
    absl::Status status = guard_.Check();
    if (!status.ok()) return status;
    const Limit limit(options.timeout, options.is_cancelled);
    Backoff backoff(options_.retry);
    for (Tries tries(&backoff, options_.retry.max_attempts, limit);;) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(limit.deadline()));
      const absl::StatusOr<std::shared_ptr<const StubLine>> line = GetLine();
      if (!line.ok()) return line.status();
      (*line)->line.Prepare(&context);
      Response response;
      status = FromGrpc(call(**line, &context, &response));
      if (failed_tries != nullptr) *failed_tries = tries.failed();
      if (status.ok()) return response;
      if (!tries.Again(&status, absl::IsUnavailable(status))) return status;
      Replace(*line);
    }
  }

  // The one there is, or a new one: without one, or for another token.
  absl::StatusOr<std::shared_ptr<const StubLine>> GetLine() {
    const absl::StatusOr<std::string> authorization =
        MakeAuthorization(options_);
    if (!authorization.ok()) return authorization.status();
    absl::MutexLock lock(&mutex_);
    if (line_ != nullptr && line_->line.authorization == *authorization) {
      return line_;
    }
    absl::StatusOr<Line> line = MakeLine(server_, options_);
    if (!line.ok()) return line.status();
    std::unique_ptr<Stub> stub = v1::Concord::NewStub(line->channel);
    line_ =
        std::make_shared<StubLine>(StubLine{*std::move(line), std::move(stub)});
    return line_;
  }
  // A channel connects again only while a call polls it, and a call that finds
  // it disconnected does not wait: left alone, it takes seconds to find a
  // server that is back at once. A new channel's first call connects.
  void Replace(const std::shared_ptr<const StubLine>& failed) {
    absl::MutexLock lock(&mutex_);
    if (line_ == failed) line_ = nullptr;
  }

  const ProcessGuard guard_;
  const std::string server_;
  const ClientOptions options_;
  absl::Mutex mutex_;
  std::shared_ptr<const StubLine> line_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    absl::string_view server, const ClientOptions& options) {
  absl::Status status = ValidateServer(server);
  if (status.ok()) status = ValidateOptions(options);
  if (status.ok()) status = ValidateSecurity(server, options);
  if (!status.ok()) return status;
  return std::unique_ptr<Client>(
      new Client(std::make_unique<Impl>(server, options)));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Client::~Client() {
  // In a forked child the parent's connections must not be touched.
  if (impl_->forked()) (void)impl_.release();
}

const std::string& Client::server() const { return impl_->server(); }

absl::StatusOr<bool> Client::IsServing(const CallOptions& options) {
  using grpc::health::v1::Health;
  using grpc::health::v1::HealthCheckResponse;
  const absl::StatusOr<HealthCheckResponse> response =
      impl_->TryOn<HealthCheckResponse>(
          [](const Line& line, grpc::ClientContext* context,
             HealthCheckResponse* answer) {
            return Health::NewStub(line.channel)->Check(context, {}, answer);
          },
          options);
  if (!response.ok()) return response.status();
  return response->status() == HealthCheckResponse::SERVING;
}

absl::StatusOr<v1::ServerInfo> Client::GetServerInfo(
    const CallOptions& options) {
  return impl_->Call(&Stub::GetServerInfo, v1::GetServerInfoRequest(), options);
}

absl::StatusOr<v1::ServerStatistics> Client::GetServerStatistics(
    absl::string_view session, const CallOptions& options) {
  v1::GetServerStatisticsRequest request;
  request.set_session(std::string(session));
  return impl_->Call(&Stub::GetServerStatistics, request, options);
}

absl::StatusOr<v1::Session> Client::CreateSession(
    const v1::CreateSessionRequest& request, const CallOptions& options) {
  return impl_->Call(&Stub::CreateSession, request, options);
}

absl::StatusOr<v1::Session> Client::AttachOrCreate(
    const v1::CreateSessionRequest& request, const CallOptions& options) {
  if (request.session_id().empty()) {
    return InvalidField("INVALID_OPTION", "session_id", "\"\"",
                        "the id of a session");
  }
  const std::string name = absl::StrCat("sessions/", request.session_id());
  const absl::Time deadline = absl::Now() + options.timeout;
  CallOptions rest = options;
  for (;;) {
    rest.timeout = deadline - absl::Now();
    absl::StatusOr<v1::Session> session = CreateSession(request, rest);
    if (!absl::IsAlreadyExists(session.status())) return session;
    const absl::optional<ErrorDetail> detail = GetErrorDetail(session.status());
    // Only a server that has compared the options may be believed.
    if (!detail.has_value() || detail->reason != "SESSION_EXISTS" ||
        !detail->field.empty()) {
      return session;
    }
    rest.timeout = deadline - absl::Now();
    absl::StatusOr<v1::Session> existing = GetSession(name, rest);
    // Deleted between the two calls: then there is room for a new one.
    if (!absl::IsNotFound(existing.status())) return existing;
  }
}

absl::StatusOr<v1::Session> Client::GetSession(absl::string_view name,
                                               const CallOptions& options) {
  v1::GetSessionRequest request;
  request.set_name(std::string(name));
  return impl_->Call(&Stub::GetSession, request, options);
}

absl::StatusOr<std::vector<v1::Session>> Client::ListSessions(
    const CallOptions& options) {
  const absl::Time deadline = absl::Now() + options.timeout;
  CallOptions rest = options;
  std::vector<v1::Session> sessions;
  v1::ListSessionsRequest request;
  do {
    rest.timeout = deadline - absl::Now();
    absl::StatusOr<v1::ListSessionsResponse> page =
        impl_->Call(&Stub::ListSessions, request, rest);
    if (!page.ok()) return page.status();
    for (v1::Session& session : *page->mutable_sessions()) {
      sessions.push_back(std::move(session));
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return sessions;
}

absl::StatusOr<v1::Session> Client::UpdateSession(
    const v1::UpdateSessionRequest& request, const CallOptions& options) {
  return impl_->Call(&Stub::UpdateSession, request, options);
}

absl::StatusOr<v1::Session> Client::UpdateLayout(
    const v1::UpdateLayoutRequest& request, const CallOptions& options) {
  return impl_->Call(&Stub::UpdateLayout, request, options);
}

absl::Status Client::DeleteSession(absl::string_view name,
                                   absl::string_view uid,
                                   const CallOptions& options) {
  v1::DeleteSessionRequest request;
  request.set_name(std::string(name));
  request.set_uid(std::string(uid));
  uint32_t failed_tries = 0;
  const absl::Status status =
      impl_->Call(&Stub::DeleteSession, request, options, &failed_tries)
          .status();
  if (absl::IsNotFound(status) && failed_tries > 0) return absl::OkStatus();
  return status;
}

absl::StatusOr<v1::Checkpoint> Client::CreateCheckpoint(
    absl::string_view session, const CallOptions& options) {
  v1::CreateCheckpointRequest request;
  request.set_session(std::string(session));
  return impl_->Call(&Stub::CreateCheckpoint, request, options);
}

absl::StatusOr<std::vector<v1::Checkpoint>> Client::ListCheckpoints(
    absl::string_view session, const CallOptions& options) {
  v1::ListCheckpointsRequest request;
  request.set_session(std::string(session));
  absl::StatusOr<v1::ListCheckpointsResponse> list =
      impl_->Call(&Stub::ListCheckpoints, request, options);
  if (!list.ok()) return list.status();
  return std::vector<v1::Checkpoint>(list->checkpoints().begin(),
                                     list->checkpoints().end());
}

absl::StatusOr<v1::Session> Client::RestoreSession(absl::string_view name,
                                                   absl::string_view checkpoint,
                                                   const CallOptions& options) {
  v1::RestoreSessionRequest request;
  request.set_name(std::string(name));
  request.set_checkpoint(std::string(checkpoint));
  return impl_->Call(&Stub::RestoreSession, request, options);
}

absl::StatusOr<std::string> Client::ExportSession(absl::string_view name,
                                                  const CallOptions& options) {
  v1::ExportSessionRequest request;
  request.set_name(std::string(name));
  return impl_->Try<std::string>(
      [&](Stub* stub, grpc::ClientContext* context, std::string* file) {
        const auto stream = stub->ExportSession(context, request);
        v1::StateChunk chunk;
        while (stream->Read(&chunk)) file->append(chunk.data());
        return stream->Finish();
      },
      options);
}

absl::StatusOr<v1::Session> Client::ImportSession(absl::string_view name,
                                                  absl::string_view file,
                                                  const CallOptions& options) {
  return impl_->Try<v1::Session>(
      [&](Stub* stub, grpc::ClientContext* context, v1::Session* session) {
        const auto stream = stub->ImportSession(context, session);
        v1::ImportSessionRequest request;
        request.mutable_target()->set_name(std::string(name));
        bool open = stream->Write(request);
        for (size_t begin = 0; open && begin < file.size();
             begin += kStateChunkBytes) {
          const absl::string_view piece =
              absl::ClippedSubstr(file, begin, kStateChunkBytes);
          request.mutable_chunk()->set_data(piece.data(), piece.size());
          open = stream->Write(request);
        }
        // Where the server has ended the stream, Finish says why.
        stream->WritesDone();
        return stream->Finish();
      },
      options);
}

absl::StatusOr<std::unique_ptr<StepWatch>> Client::Watch(
    absl::string_view name, absl::string_view uid) {
  const absl::Status status = impl_->CheckProcess();
  if (!status.ok()) return status;
  absl::StatusOr<Line> line = MakeLine(impl_->server(), impl_->options());
  if (!line.ok()) return line.status();
  v1::WatchRequest request;
  request.set_name(std::string(name));
  request.set_uid(std::string(uid));
  return std::unique_ptr<StepWatch>(new StepWatch(
      std::make_unique<StepWatch::Impl>(*std::move(line), std::move(request))));
}

absl::StatusOr<CombineOutcome> Client::Combine(
    const v1::CombineHeader& header, absl::Span<const void* const> vectors,
    void* result, const CallOptions& options) {
  absl::Status status = impl_->CheckProcess();
  if (!status.ok()) return status;
  return RemoteCombine(impl_->server(), impl_->options(), header, vectors,
                       result)
      .Run(options);
}

absl::StatusOr<v1::SolveResponse> Client::Solve(const v1::SolveRequest& request,
                                                const CallOptions& options) {
  return impl_->Call(&Stub::Solve, request, options);
}

absl::StatusOr<std::unique_ptr<WorkerSession>> Client::OpenWorker(
    const WorkerOptions& worker, const CallOptions& options) {
  absl::Status status = impl_->CheckProcess();
  if (!status.ok()) return status;
  auto impl = std::make_unique<WorkerSession::Impl>(impl_->server(),
                                                    impl_->options(), worker);
  status = impl->Open(options);
  if (!status.ok()) return status;
  return std::unique_ptr<WorkerSession>(new WorkerSession(std::move(impl)));
}

}  // namespace concord
