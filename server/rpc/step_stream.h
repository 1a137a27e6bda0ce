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
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "concord/v1/step.pb.h"
#include "proto/wire/payload.h"
#include "proto/wire/trace_context.h"
#include "server/rpc/event_log.h"
#include "server/rpc/metrics.h"
#include "server/rpc/stream_table.h"
#include "server/session/caller_account.h"
#include "server/session/rank_stream.h"
#include "server/session/registry.h"

namespace concord {

// Threads: one.
class StepStream {
 public:
  // Whom the stream's steps count for, and the trace that it belongs to.
  struct Billing {
    std::shared_ptr<CallerAccount> account;
    TraceContext trace;
  };
  // The same, or why the stream's caller may not have what its first message
  // asks for.
  using Admit = std::function<absl::StatusOr<Billing>(const v1::Join& join)>;

  // None is owned; all outlive the object. `local_socket`: what Joined tells
  // of. `log`: gets steps that a sampled trace asks for.
  StepStream(SessionRegistry* registry, LiveStream* stream, Metrics* metrics,
             EventLog* log, std::string local_socket, const Admit& admit);

  // Serves the stream to its end, and counts what it was: OK when the client
  // has ended it.
  absl::Status Run();

  // For the log: what the stream was about.
  const std::string& session() const { return session_; }
  uint32_t rank() const { return rank_number_; }
  uint64_t step() const { return step_; }
  // The step's own trace, else the stream's.
  const TraceContext& trace() const {
    return step_trace_.is_set() ? step_trace_ : billing_.trace;
  }

 private:
  absl::Status Serve();
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
  // The answer has been sent, which took `send`.
  void Count(const StepReply& reply, absl::Duration send);
  // What the stream has carried since the last call.
  void CountBytes();
  void LogStep(const StepReply& reply, absl::Duration send);

  SessionRegistry* const registry_;
  LiveStream* const stream_;
  Metrics* const metrics_;
  EventLog* const log_;
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
  Billing billing_;
  TraceContext step_trace_;
  absl::Duration ingest_;                         // Of the step under way.
  uint64_t received_bytes_ = 0, sent_bytes_ = 0;  // That are counted.

  // Last: its destructor leaves the session, while the rest is still there.
  std::unique_ptr<RankStream> rank_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_STEP_STREAM_H_
