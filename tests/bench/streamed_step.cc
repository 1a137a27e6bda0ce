#include "tests/bench/streamed_step.h"

#include <algorithm>
#include <barrier>
#include <memory>
#include <string>
#include <thread>
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
      : own_gradients_(RandomGradients(options.m, options.n)),
        begin_(options.ranks),
        end_(options.ranks) {}

  absl::Status Start(const StreamedOptions& options) {
    absl::StatusOr<std::unique_ptr<BenchServer>> server = BenchServer::Start(
        options.threads, options.over_unix_socket, options.certificates);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);

    ClientOptions client_options;
    client_options.shared_memory = options.shared_memory;
    if (!options.certificates.empty()) {
      client_options.tls.emplace().ca_file = options.certificates + "/ca.pem";
    }
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
    request.mutable_session()->set_num_workers(
        static_cast<uint32_t>(options.ranks));
    request.mutable_session()->set_max_vectors_per_step(
        static_cast<uint32_t>(options.ranks));
    request.mutable_session()->set_gradient_type(options.wire_type);
    request.mutable_session()->set_update_type(options.wire_type);
    const absl::StatusOr<v1::Session> session =
        (*client)->CreateSession(request);
    if (!session.ok()) return session.status();
    for (int rank = 0; rank < options.ranks; ++rank) {
      WorkerOptions worker;
      worker.session = session->name();
      worker.rank = static_cast<uint32_t>(rank);
      absl::StatusOr<std::unique_ptr<WorkerSession>> opened =
          (*client)->OpenWorker(worker);
      if (!opened.ok()) return opened.status();
      std::shared_ptr<void> update = (*opened)->TakeUpdate();
      if (update == nullptr) update = std::make_shared<float[]>(options.n);
      ranks_.push_back(
          {*std::move(opened), std::move(update), absl::OkStatus()});
    }
    PlaceGradients();
    for (size_t rank = 1; rank < ranks_.size(); ++rank) {
      threads_.emplace_back([this, rank] { Serve(rank); });
    }
    for (int i = 0; i < options.m; ++i) {
      const absl::Status status = Run();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  ~RemoteStep() override {
    if (threads_.empty()) return;
    over_ = true;
    begin_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }

  absl::Status Run() override {
    if (threads_.empty()) {
      return Bring(&ranks_[0], step_++ % gradients_.size());
    }
    begin_.arrive_and_wait();
    ranks_[0].status = Bring(&ranks_[0], 0);
    end_.arrive_and_wait();
    for (const Rank& rank : ranks_) {
      if (!rank.status.ok()) return rank.status;
    }
    return absl::OkStatus();
  }

 private:
  struct Rank {
    std::unique_ptr<WorkerSession> worker;
    std::shared_ptr<void> update;  // Of the session's memory, if it has some.
    absl::Status status;
  };

  // Gradients are made where the server reads them, if there is such memory: a
  // worker writes them once, wherever they go.
  void PlaceGradients() {
    for (size_t i = 0; i < own_gradients_.size(); ++i) {
      const std::vector<float>& own = own_gradients_[i];
      const Rank& rank = ranks_[i % ranks_.size()];
      lent_.push_back(rank.worker->joined().gradient_type() == v1::FLOAT32
                          ? rank.worker->TakeGradient()
                          : nullptr);
      if (lent_.back() == nullptr) {
        gradients_.push_back(own.data());
      } else {
        std::copy(own.begin(), own.end(),
                  static_cast<float*>(lent_.back().get()));
        gradients_.push_back(lent_.back().get());
      }
    }
  }

  absl::Status Bring(Rank* rank, size_t index) const {
    const StepVector contribution{static_cast<int>(index), gradients_[index]};
    return rank->worker
        ->Step(absl::MakeConstSpan(&contribution, 1), {}, rank->update.get())
        .status();
  }

  // A rank's thread: a step for every Run().
  void Serve(size_t rank) {
    while (true) {
      begin_.arrive_and_wait();
      if (over_) return;
      ranks_[rank].status = Bring(&ranks_[rank], rank);
      end_.arrive_and_wait();
    }
  }

  const std::vector<std::vector<float>> own_gradients_;
  std::vector<std::shared_ptr<void>> lent_;  // Null: it is its own.
  std::vector<const void*> gradients_;
  std::unique_ptr<BenchServer> server_;
  std::vector<Rank> ranks_;  // They leave before the server ends.
  std::barrier<> begin_;
  std::barrier<> end_;
  bool over_ = false;
  std::vector<std::thread> threads_;
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
