#include "client/cpp/step_watch.h"

#include <utility>

#include "client/cpp/limit.h"
#include "client/cpp/step_watch_impl.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

constexpr char kWatchMethod[] = "/concord.v1.Concord/Watch";

}  // namespace

StepWatch::Impl::Impl(Line line, v1::WatchRequest request)
    : request_(std::move(request)),
      connection_(std::move(line), kWatchMethod) {}

absl::StatusOr<v1::StepDiagnostics> StepWatch::Impl::Next(
    const CallOptions& options) {
  absl::Status status = guard_.Check();
  if (!status.ok()) return status;
  if (!ended_.ok()) return ended_;
  const Limit limit(options.timeout, options.is_cancelled);
  if (!asked_) {
    asked_ = true;
    // Where it cannot be sent the read below fails, too.
    (void)connection_.Write(wire::Encode(request_), limit);
  }
  grpc::ByteBuffer message;
  if (!connection_.Read(&message, limit)) {
    return ended_ = connection_.Close(limit);
  }
  v1::StepDiagnostics step;
  if (wire::Decode(message, &step)) return step;
  return ended_ = absl::DataLossError("the server sent an unreadable message");
}

StepWatch::StepWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StepWatch::~StepWatch() {
  // In a forked child the parent's connection must not be touched.
  if (impl_->forked()) (void)impl_.release();
}

absl::StatusOr<v1::StepDiagnostics> StepWatch::Next(
    const CallOptions& options) {
  return impl_->Next(options);
}

}  // namespace concord
