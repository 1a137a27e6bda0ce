#include "tests/bench/streamed_step.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/client.h"
#include "client/cpp/session.h"
#include "tests/bench/bench_server.h"
#include "tests/bench/embedded_step.h"

namespace concord::bench {
namespace {

class RemoteStep : public StreamedStep {
 public:
  explicit RemoteStep(const StreamedOptions& options)
      : gradients_(RandomGradients(options.m, options.n)), update_(options.n) {}

  absl::Status Start(const StreamedOptions& options) {
    absl::StatusOr<std::unique_ptr<BenchServer>> server =
        BenchServer::Start(options.threads, options.over_unix_socket);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);

    ClientOptions client_options;
    client_options.shared_memory = options.shared_memory;
    if (options.chunk_bytes > 0) {
      client_options.chunk_bytes = options.chunk_bytes;
    }
    absl::StatusOr<std::unique_ptr<Client>> client =
        Client::Connect(server_->address(), client_options);
    if (!client.ok()) return client.status();
    v1::CreateSessionRequest request;
    request.set_session_id("bench");
    request.mutable_session()->set_num_vectors(
        static_cast<uint32_t>(options.m));
    request.mutable_session()->set_num_parameters(options.n);
    request.mutable_session()->set_max_vectors_per_step(1);
    request.mutable_session()->set_gradient_type(options.wire_type);
    request.mutable_session()->set_update_type(options.wire_type);
    const absl::StatusOr<v1::Session> session =
        (*client)->CreateSession(request);
    if (!session.ok()) return session.status();
    WorkerOptions worker;
    worker.session = session->name();
    absl::StatusOr<std::unique_ptr<WorkerSession>> opened =
        (*client)->OpenWorker(worker);
    if (!opened.ok()) return opened.status();
    worker_ = *std::move(opened);

    for (int i = 0; i < options.m; ++i) {
      const absl::Status status = Run();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Run() override {
    const size_t index = step_++ % gradients_.size();
    const StepVector contribution{static_cast<int>(index),
                                  gradients_[index].data()};
    return worker_
        ->Step(absl::MakeConstSpan(&contribution, 1), {}, update_.data())
        .status();
  }

 private:
  const std::vector<std::vector<float>> gradients_;
  std::vector<float> update_;
  std::unique_ptr<BenchServer> server_;
  std::unique_ptr<WorkerSession> worker_;  // Leaves before the server ends.
  size_t step_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StreamedStep>> StreamedStep::Create(
    const StreamedOptions& options) {
  auto step = std::make_unique<RemoteStep>(options);
  const absl::Status status = step->Start(options);
  if (!status.ok()) return status;
  return step;
}

}  // namespace concord::bench
