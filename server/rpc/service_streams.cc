// The service's raw streams: Step, Combine, Watch.
#include <memory>
#include <string>
#include <utility>

#include "operators/errors.h"
#include "server/rpc/combine_stream.h"
#include "server/rpc/local_pipe.h"
#include "server/rpc/service.h"
#include "server/rpc/status.h"
#include "server/rpc/step_stream.h"
#include "server/rpc/watch_stream.h"

namespace concord {
namespace {

std::string CodeName(const absl::Status& status) {
  return absl::StatusCodeToString(status.code());
}

// Of whom the gate has turned away, and logged.
bool IsDenied(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status);
}

}  // namespace

absl::Status Service::Refuse(const Visit& visit, const absl::Status& status) {
  log_->Write("stream_refused",
              {{"method", visit.method},
               {"caller", AccountName(visit)},
               {"code", CodeName(status)},
               {"reason", GetErrorReason(status)},
               {"message", std::string(status.message())}},
              visit.trace);
  return status;
}

void Service::LogFailure(const char* event, const absl::Status& status,
                         const TraceContext& trace) {
  if (status.ok() || absl::IsCancelled(status) || IsDenied(status)) return;
  log_->Write(event,
              {{"code", CodeName(status)},
               {"reason", GetErrorReason(status)},
               {"message", std::string(status.message())}},
              trace);
}

absl::StatusOr<Service::OpenStream> Service::Open(const char* method,
                                                  grpc::ServerContext* context,
                                                  ByteStream* stream) {
  absl::StatusOr<Visit> visit = gate_.Identify(method, *context);
  if (!visit.ok()) return visit.status();
  OpenStream open;
  open.visit = *std::move(visit);
  open.account = Account(open.visit);
  absl::StatusOr<std::unique_ptr<CallerAccount::Use>> use =
      open.account->AddStream();
  if (!use.ok()) return Refuse(open.visit, use.status());
  open.use = *std::move(use);
  open.pipe = std::make_unique<GrpcPipe>(context, stream);
  absl::StatusOr<std::unique_ptr<LiveStream>> live =
      streams_->Open(open.pipe.get());
  if (!live.ok()) return Refuse(open.visit, live.status());
  open.live = *std::move(live);
  return open;
}

grpc::Status Service::ServeRawStep(grpc::ServerContext* context,
                                   ByteStream* stream) {
  const absl::StatusOr<OpenStream> open = Open("Step", context, stream);
  if (!open.ok()) return Answer(open.status());
  const Visit& visit = open->visit;
  return ServeStep(
      open->live.get(), local_socket_,
      [&](const v1::Join& join) -> absl::StatusOr<StepStream::Billing> {
        const absl::Status status = gate_.Pass(
            visit, visit.caller->Check(Right::kStep, join.session()));
        if (!status.ok()) return status;
        return StepStream::Billing{open->account,
                                   join.traceparent().empty()
                                       ? visit.trace
                                       : ParseTraceparent(join.traceparent())};
      });
}

void Service::ServeLocalStep(FileDescriptor socket) {
  LocalPipe pipe(std::move(socket), shared_memory_);
  std::unique_ptr<CallerAccount::Use> use;
  const auto admit =
      [&](const v1::Join& join) -> absl::StatusOr<StepStream::Billing> {
    const absl::StatusOr<Visit> visit =
        gate_.IdentifyLocally("Step", join.authorization(), join.traceparent());
    if (!visit.ok()) return visit.status();
    const absl::Status status =
        gate_.Pass(*visit, visit->caller->Check(Right::kStep, join.session()));
    if (!status.ok()) return status;
    std::shared_ptr<CallerAccount> account = Account(*visit);
    absl::StatusOr<std::unique_ptr<CallerAccount::Use>> added =
        account->AddStream();
    if (!added.ok()) return added.status();
    use = *std::move(added);
    return StepStream::Billing{std::move(account), visit->trace};
  };
  grpc::Status end;
  {
    const absl::StatusOr<std::unique_ptr<LiveStream>> live =
        streams_->Open(&pipe);
    if (live.ok()) {
      end = ServeStep(live->get(), /*local_socket=*/"", admit);
    } else {
      end = Answer(
          Refuse({"Step", "local", Caller::Trusted(""), {}}, live.status()));
    }
  }
  pipe.End(end);
}

grpc::Status Service::ServeStep(LiveStream* live, std::string local_socket,
                                const StepStream::Admit& admit) {
  StepStream steps(registry_, live, metrics_, log_, std::move(local_socket),
                   admit);
  const absl::Status status = steps.Run();
  metrics_->CountStreamFailure(status);
  if (!status.ok() && !IsDenied(status)) {
    log_->Write("stream_failed",
                {{"session", steps.session()},
                 {"rank", int64_t{steps.rank()}},
                 {"step", static_cast<int64_t>(steps.step())},
                 {"code", CodeName(status)},
                 {"reason", GetErrorReason(status)},
                 {"message", std::string(status.message())}},
                steps.trace());
  }
  return Answer(status);
}

grpc::Status Service::ServeRawCombine(grpc::ServerContext* context,
                                      ByteStream* stream) {
  const absl::StatusOr<OpenStream> open = Open("Combine", context, stream);
  if (!open.ok()) return Answer(open.status());
  absl::Status status = open->account->TakeStep();
  if (status.ok()) {
    status = ServeCombine(registry_, open->account, open->live.get());
  }
  LogFailure("combine_failed", status, open->visit.trace);
  return Answer(status);
}

grpc::Status Service::ServeRawWatch(grpc::ServerContext* context,
                                    ByteStream* stream) {
  const absl::StatusOr<OpenStream> open = Open("Watch", context, stream);
  if (!open.ok()) return Answer(open.status());
  const absl::Status status =
      ServeWatch(registry_, open->live.get(), [&](absl::string_view session) {
        return CheckRead(open->visit, session);
      });
  LogFailure("watch_ended", status, open->visit.trace);
  return Answer(status);
}

}  // namespace concord
