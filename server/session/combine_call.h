// One stateless combination, streamed: vectors in, combined vector out.
//
//   auto call = registry.StartCombine(header)
//   call->Append(position, fragments)  until call->complete()
//   call->Finish()                     -> result, update (still being written)
//
// Memory (m vectors and the result) is reserved against the server's budget
// before anything is allocated, and freed with the object and its reply.
//
// Threads: one at a time.
#ifndef CONCORD_SERVER_SESSION_COMBINE_CALL_H_
#define CONCORD_SERVER_SESSION_COMBINE_CALL_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "concord/v1/combine.pb.h"
#include "operators/kernels/kernels.h"
#include "server/session/committer.h"
#include "server/session/ingest.h"
#include "server/session/limits.h"
#include "server/session/memory_budget.h"
#include "server/session/update.h"

namespace concord {

struct CombineReply {
  v1::CombineResult result;
  // Follow it as a step's update; the trailer's checksum is CombineTrailer's.
  std::shared_ptr<const Update> update;
};

class CombineCall {
 public:
  // What a server lends to a call.
  struct Parts {
    const Limits* limits = nullptr;
    std::shared_ptr<Kernels> kernels;
    MemoryBudget* budget = nullptr;
    CommitterPool* committers = nullptr;
  };

  // For the registry. INVALID_OPTION, LENGTH_MISMATCH, LIMIT_EXCEEDED.
  static absl::StatusOr<std::unique_ptr<CombineCall>> Start(
      const v1::CombineHeader& header, const Parts& parts);

  CombineCall(const CombineCall&) = delete;
  CombineCall& operator=(const CombineCall&) = delete;
  ~CombineCall();

  // CHUNK_MISPLACED, CHUNK_TOO_LARGE, NON_FINITE.
  absl::Status Append(const ChunkPosition& position,
                      absl::Span<const absl::Span<const std::byte>> fragments);

  bool complete() const { return cursor_.complete(); }

  // Once, when complete.
  absl::StatusOr<CombineReply> Finish();

 private:
  struct Work;  // What outlives the call while its result is written.

  CombineCall(std::shared_ptr<Work> work, ChunkCursor cursor);

  std::shared_ptr<Work> work_;
  ChunkCursor cursor_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_COMBINE_CALL_H_
