// gRPC's health service (grpc.health.v1), on the threads of the synchronous
// API. gRPC's own would start pollers of the callback API, which then take the
// streams' events and hand them on: a twentieth of a step's time.
//
// Threads: safe.
#ifndef CONCORD_SERVER_RPC_HEALTH_H_
#define CONCORD_SERVER_RPC_HEALTH_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace concord {

// NOT_SERVING until told otherwise.
class HealthService final : public grpc::health::v1::Health::Service {
 public:
  // Answers for the server as a whole ("") and for each of `services`.
  explicit HealthService(std::vector<std::string> services);

  void SetServing(bool serving);
  bool is_serving() const;

  // Ends all watches, those to come too.
  void EndWatches();

  // NOT_FOUND for an unknown service.
  grpc::Status Check(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override;

  // Holds a thread while it watches: RESOURCE_EXHAUSTED beyond kMaxWatches.
  // An unknown service is SERVICE_UNKNOWN, for good.
  grpc::Status Watch(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::ServerWriter<grpc::health::v1::HealthCheckResponse>*
                         writer) override;

  static constexpr int kMaxWatches = 64;

 private:
  bool IsKnown(const std::string& service) const;
  grpc::Status FollowStatus(
      grpc::ServerContext* context, bool known,
      grpc::ServerWriter<grpc::health::v1::HealthCheckResponse>* writer);

  const std::vector<std::string> services_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  int watches_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_HEALTH_H_
