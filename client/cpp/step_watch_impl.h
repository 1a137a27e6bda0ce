// The inside of StepWatch (step_watch.h), which its users need not compile.
#ifndef CONCORD_CLIENT_CPP_STEP_WATCH_IMPL_H_
#define CONCORD_CLIENT_CPP_STEP_WATCH_IMPL_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/channel.h"
#include "client/cpp/connection.h"
#include "client/cpp/process_guard.h"
#include "client/cpp/step_watch.h"
#include "concord/v1/checkpoint.pb.h"

namespace concord {

class StepWatch::Impl {
 public:
  // The line should be this watch's alone.
  Impl(Line line, v1::WatchRequest request);

  absl::StatusOr<v1::StepDiagnostics> Next(const CallOptions& options);

  bool forked() const { return guard_.forked(); }

 private:
  const ProcessGuard guard_;
  const v1::WatchRequest request_;
  Connection connection_;
  bool asked_ = false;
  absl::Status ended_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_STEP_WATCH_IMPL_H_
