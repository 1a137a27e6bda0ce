#include "server/rpc/watch_stream.h"

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "concord/v1/checkpoint.pb.h"
#include "concord/v1/watch.pb.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"
#include "server/session/session.h"

namespace concord {
namespace {

absl::StatusOr<v1::WatchRequest> ReadRequest(LiveStream* stream) {
  grpc::ByteBuffer buffer;
  if (!stream->Read(&buffer)) {
    absl::Status status = stream->status();
    if (!status.ok()) return status;
    return InvalidField("PROTOCOL_VIOLATION", "message", "end of the stream",
                        "a concord.v1.WatchRequest");
  }
  v1::WatchRequest request;
  if (wire::Decode(buffer, &request)) return request;
  return InvalidField("PROTOCOL_VIOLATION", "message",
                      absl::StrCat(buffer.Length(), " bytes"),
                      "a concord.v1.WatchRequest");
}

// What follows the session's steps, with the stream's timeout set to its.
absl::StatusOr<std::unique_ptr<Diagnostics::Watcher>> Open(
    SessionRegistry* registry, const v1::WatchRequest& request,
    LiveStream* stream) {
  // The session is not held: it is to end while somebody watches.
  const absl::StatusOr<std::shared_ptr<Session>> session =
      registry->Get(request.name());
  if (!session.ok()) return session.status();
  stream->set_send_timeout((*session)->send_timeout());
  return (*session)->Watch(request);
}

}  // namespace

absl::Status ServeWatch(SessionRegistry* registry, LiveStream* stream) {
  const absl::StatusOr<v1::WatchRequest> request = ReadRequest(stream);
  if (!request.ok()) return request.status();
  const absl::StatusOr<std::unique_ptr<Diagnostics::Watcher>> watcher =
      Open(registry, *request, stream);
  if (!watcher.ok()) return watcher.status();
  while (true) {
    const absl::StatusOr<v1::StepDiagnostics> step =
        (*watcher)->Next([stream] { return stream->is_cancelled(); });
    if (!step.ok()) {
      // The stream knows why it was cancelled.
      const absl::Status reason = stream->status();
      return reason.ok() ? step.status() : reason;
    }
    if (!stream->Write(wire::Encode(*step))) {
      const absl::Status reason = stream->status();
      return reason.ok() ? absl::CancelledError("the client has left") : reason;
    }
  }
}

}  // namespace concord
