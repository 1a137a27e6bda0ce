// One worker's `Step` stream (proto/concord/v1/step.proto), from the wire to
// its RankStream and back.
#ifndef CONCORD_SERVER_RPC_STEP_STREAM_H_
#define CONCORD_SERVER_RPC_STEP_STREAM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "concord/v1/step.pb.h"
#include "proto/wire/payload.h"
#include "server/rpc/metrics.h"
#include "server/rpc/stream_table.h"
#include "server/session/rank_stream.h"
#include "server/session/registry.h"

namespace concord {

// Threads: one.
class StepStream {
 public:
  // Whether the stream's caller may have what its first message asks for.
  using Admit = std::function<absl::Status(const v1::Join& join)>;

  // None is owned; all outlive the object. `local_socket`: what Joined tells
  // of.
  StepStream(SessionRegistry* registry, LiveStream* stream, Metrics* metrics,
             std::string local_socket, const Admit& admit);

  // Serves the stream to its end: OK when the client has ended it.
  absl::Status Run();

  // For the log: what the stream was about.
  const std::string& session() const { return session_; }
  uint32_t rank() const { return rank_number_; }
  uint64_t step() const { return step_; }
  // `admit` has said no.
  bool denied() const { return denied_; }

 private:
  // Each handles one kind of message.
  absl::Status Join(const v1::Join& join);
  absl::Status OnHeader(const v1::StepHeader& header);
  absl::Status OnChunk(const v1::VectorChunk& chunk);
  absl::Status OnContribution(const v1::StepContribution& contribution);

  // Reads one message into request_ and data_; false at the client's end of the
  // stream.
  absl::StatusOr<bool> ReadMessage();
  // Finds the places of the header's vectors and update in the client's memory.
  absl::Status FindPlaces(const v1::StepHeader& header);
  // The whole contribution is in its places.
  absl::Status AppendShared();
  // The contribution is complete: waits for the round and answers.
  absl::Status Answer();
  absl::Status SendWhole(const StepReply& reply);
  absl::Status SendParts(const StepReply& reply);

  SessionRegistry* const registry_;
  LiveStream* const stream_;
  Metrics* const metrics_;
  const std::string local_socket_;
  const Admit& admit_;

  v1::StepRequest request_;
  wire::Payload data_;
  bool in_step_ = false;  // A header was read and is not answered yet.
  // In the client's memory, of the header under way; empty: the stream has it.
  std::vector<wire::Fragment> vector_places_;
  absl::Span<std::byte> update_place_;

  std::string session_;
  uint32_t rank_number_ = 0;
  uint64_t step_ = 0;
  bool denied_ = false;

  // Last: its destructor leaves the session, while the rest is still there.
  std::unique_ptr<RankStream> rank_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_STEP_STREAM_H_
