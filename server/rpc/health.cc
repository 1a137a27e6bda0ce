#include "server/rpc/health.h"

#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "operators/errors.h"
#include "server/rpc/status.h"

namespace concord {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// How long a watch sleeps before it asks whether its client has left.
constexpr absl::Duration kTick = absl::Milliseconds(100);

HealthCheckResponse::ServingStatus StatusOf(bool serving) {
  return serving ? HealthCheckResponse::SERVING
                 : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

HealthService::HealthService(std::vector<std::string> services)
    : services_(std::move(services)) {}

bool HealthService::IsKnown(const std::string& service) const {
  return service.empty() || absl::c_linear_search(services_, service);
}

void HealthService::SetServing(bool serving) {
  absl::MutexLock lock(&mutex_);
  serving_ = serving;
  changed_.SignalAll();
}

bool HealthService::is_serving() const {
  absl::MutexLock lock(&mutex_);
  return serving_;
}

void HealthService::EndWatches() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
  changed_.SignalAll();
}

grpc::Status HealthService::Check(grpc::ServerContext* /*context*/,
                                  const HealthCheckRequest* request,
                                  HealthCheckResponse* response) {
  if (!IsKnown(request->service())) {
    return {grpc::StatusCode::NOT_FOUND,
            absl::StrCat("service ", request->service(),
                         " is not here; accepted: \"\" or ",
                         absl::StrJoin(services_, ", "))};
  }
  absl::MutexLock lock(&mutex_);
  response->set_status(StatusOf(serving_));
  return grpc::Status::OK;
}

grpc::Status HealthService::Watch(
    grpc::ServerContext* context, const HealthCheckRequest* request,
    grpc::ServerWriter<HealthCheckResponse>* writer) {
  {
    absl::MutexLock lock(&mutex_);
    if (watches_ == kMaxWatches) {
      return ToGrpc(MakeError(absl::StatusCode::kResourceExhausted,
                              {"LIMIT_EXCEEDED",
                               "",
                               "",
                               "",
                               {{"limit", "health watches"},
                                {"value", absl::StrCat(watches_ + 1)},
                                {"accepted", absl::StrCat(kMaxWatches)}}}));
    }
    ++watches_;
  }
  grpc::Status status =
      FollowStatus(context, IsKnown(request->service()), writer);
  absl::MutexLock lock(&mutex_);
  --watches_;
  return status;
}

grpc::Status HealthService::FollowStatus(
    grpc::ServerContext* context, bool known,
    grpc::ServerWriter<HealthCheckResponse>* writer) {
  std::optional<HealthCheckResponse::ServingStatus> sent;
  HealthCheckResponse response;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      const auto now = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return known ? StatusOf(serving_)
                     : HealthCheckResponse::SERVICE_UNKNOWN;
      };
      while (sent == now()) {
        if (ended_) {
          return {grpc::StatusCode::UNAVAILABLE, "the server is shutting down"};
        }
        if (context->IsCancelled()) return grpc::Status::CANCELLED;
        changed_.WaitWithTimeout(&mutex_, kTick);
      }
      sent = now();
    }
    response.set_status(*sent);
    if (!writer->Write(response)) return grpc::Status::CANCELLED;
  }
}

}  // namespace concord
