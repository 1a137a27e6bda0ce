#include "server/rpc/watch_stream.h"

#include <memory>

#include "absl/status/statusor.h"
#include "concord/v1/checkpoint.pb.h"
#include "concord/v1/watch.pb.h"
#include "proto/wire/codec.h"
#include "server/rpc/read_message.h"
#include "server/session/session.h"

namespace concord {
namespace {

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

absl::Status ServeWatch(SessionRegistry* registry, LiveStream* stream,
                        AdmitToSession admit) {
  const absl::StatusOr<v1::WatchRequest> request =
      ReadRequest<v1::WatchRequest>(stream);
  if (!request.ok()) return request.status();
  const absl::Status admitted = admit(request->name());
  if (!admitted.ok()) return admitted;
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
