// A server for tests of the client: real gRPC, and a session of one rank whose
// update is the weighted sum of the step's vectors, with faults to order.
//
// Each StepHeader that arrives takes the next Answer from the script; an empty
// script answers well. A header of a micro-batch that is not the last takes one
// too, of which only `end` counts.
#ifndef CONCORD_TESTS_CLIENT_SCRIPTED_SERVER_H_
#define CONCORD_TESTS_CLIENT_SCRIPTED_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "concord/v1/concord.grpc.pb.h"
#include "grpcpp/server.h"

namespace concord {

struct Answer {
  bool result = true;
  double update = 1;  // The part of the update that is sent.
  uint64_t checksum_error = 0;
  bool trailer = true;
  bool commit = true;
  bool hang = false;  // Says nothing more until the stream is cancelled.
  // Ends the stream; OK where the answer is incomplete and this is not set.
  absl::optional<grpc::Status> end;

  // Does nothing but end the stream.
  static Answer Refuse(grpc::Status status);
};

// A status with google.rpc details, as the real server sends it.
grpc::Status ErrorStatus(
    grpc::StatusCode code, absl::string_view reason,
    const std::vector<std::pair<std::string, std::string>>& metadata = {});

class ScriptedServer final : public v1::Concord::Service {
 public:
  // Listens on a free port of 127.0.0.1 and on `socket` ("unix:/path"), where
  // one is given. The session has n float32 parameters.
  explicit ScriptedServer(size_t num_parameters, std::string socket = "");
  ~ScriptedServer() override;

  const std::string& address() const { return address_; }

  void Say(std::vector<Answer> answers);
  // The next streams end with these instead of Joined.
  void RefuseJoins(std::vector<grpc::Status> statuses);
  void set_committed_step(uint64_t step);
  // Sends the answer in one message, or in chunks of this many bytes.
  void set_single_reply(bool single) { single_reply_ = single; }
  void set_chunk_bytes(size_t bytes) { chunk_bytes_ = bytes; }

  std::vector<v1::Join> joins() const;
  std::vector<v1::StepHeader> headers() const;
  // Messages that brought vectors, largest `data` among them.
  size_t chunks_received() const;
  size_t largest_chunk() const;
  // Workers that have left for good.
  int leaves() const;

 private:
  grpc::Status Step(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<v1::StepResponse, v1::StepRequest>*
                        stream) override;
  using Stream = grpc::ServerReaderWriter<v1::StepResponse, v1::StepRequest>;

  // False: out of order.
  bool ReadVectors(Stream* stream, const v1::StepHeader& header,
                   std::string* bytes);
  void Commit(const v1::StepHeader& header, const std::string& bytes);
  bool SendAnswer(Stream* stream, const v1::StepHeader& header,
                  const Answer& answer);

  const size_t num_parameters_;
  bool single_reply_ = false;
  size_t chunk_bytes_ = 1 << 20;

  mutable absl::Mutex mutex_;
  std::deque<Answer> script_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::Status> refused_joins_ ABSL_GUARDED_BY(mutex_);
  uint64_t committed_step_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string update_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Join> joins_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::StepHeader> headers_ ABSL_GUARDED_BY(mutex_);
  size_t chunks_received_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t largest_chunk_ ABSL_GUARDED_BY(mutex_) = 0;
  int leaves_ ABSL_GUARDED_BY(mutex_) = 0;

  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_CLIENT_SCRIPTED_SERVER_H_
