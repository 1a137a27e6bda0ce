// A real server on a loopback port, and a client that can do everything wrong:
// the generated stub, driven message by message.
#ifndef CONCORD_TESTS_SERVER_RPC_RPC_HARNESS_H_
#define CONCORD_TESTS_SERVER_RPC_RPC_HARNESS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "concord/v1/concord.grpc.pb.h"
#include "grpcpp/channel.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord {

using Vector = std::vector<float>;

// The same for the same seed.
Vector RandomVector(size_t n, int seed);

// What an error says on the wire.
struct WireError {
  absl::StatusCode code;
  std::string reason, field, value;
  std::map<std::string, std::string> metadata;
  absl::Duration retry_delay;  // Of google.rpc.RetryInfo; 0: there is none.
  size_t detail_bytes = 0;
};
WireError ReadError(const grpc::Status& status);

struct Answer {
  v1::StepResult result;
  v1::StepTrailer trailer;
  std::string update;
};

// A server with the cpu backend.
class TestServer {
 public:
  explicit TestServer(const std::function<void(Server::Options*)>& change =
                          [](auto*) {});

  Server& server() { return *server_; }
  std::shared_ptr<grpc::Channel> Connect() const;
  // The logged events of that name.
  std::vector<std::string> Logged(const std::string& event) const;

  // Waits for the `count`-th of them; aborts the test after half a minute.
  std::string AwaitLogged(const std::string& event, size_t count = 1) const;

  // sessions/{id} of 2 losses; aborts the test when refused.
  v1::Session Create(const std::string& id, size_t n, uint32_t workers = 1,
                     absl::Duration send_timeout = absl::Seconds(60),
                     absl::Duration round_timeout = absl::Minutes(5));
  v1::Session Create(const std::string& id, const v1::Session& options);

 private:
  std::vector<std::string> LoggedLocked(const std::string& event) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  EventLog log_;
  std::unique_ptr<Server> server_;
};

// One worker's stream on a connection of its own.
class StreamClient {
 public:
  explicit StreamClient(const TestServer& server);
  explicit StreamClient(std::shared_ptr<grpc::Channel> channel);
  ~StreamClient();

  void Send(const v1::StepRequest& request) { (void)stream_->Write(request); }
  void SendJoin(const std::string& session, uint32_t rank = 0,
                uint64_t incarnation = 1);
  // SendJoin, and reads Joined; aborts the test when refused.
  v1::Joined Join(const std::string& session, uint32_t rank = 0,
                  uint64_t incarnation = 1);

  // Announces loss -> vector.
  v1::StepHeader Header(uint64_t step,
                        const std::map<uint32_t, Vector>& vectors,
                        uint32_t attempt = 1) const;
  void SendHeader(const v1::StepHeader& header);
  void SendChunk(uint32_t vector, uint64_t offset, const std::string& data);
  // Header and chunks; the answer is not read.
  void SendStep(uint64_t step, const std::map<uint32_t, Vector>& vectors,
                uint32_t attempt = 1, size_t chunk_bytes = 1 << 20);
  void SendContribution(uint64_t step,
                        const std::map<uint32_t, Vector>& vectors,
                        uint32_t attempt = 1);

  bool ReadOne(v1::StepResponse* response) { return stream_->Read(response); }
  // To the trailer, in either form; the stream's status when it ends before.
  absl::StatusOr<Answer> ReadAnswer();

  void Cut() { context_.TryCancel(); }
  void WritesDone() { stream_->WritesDone(); }
  // Reads to the end of the stream.
  grpc::Status Finish();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Concord::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StepRequest, v1::StepResponse>>
      stream_;
  bool finished_ = false;
};

std::string AsBytes(const Vector& vector);

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_RPC_RPC_HARNESS_H_
