// A worker's vectors in memory that it shares with the server: one place for
// each vector of a step and one for the update.
#ifndef CONCORD_CLIENT_CPP_SHARED_VECTORS_H_
#define CONCORD_CLIENT_CPP_SHARED_VECTORS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/limit.h"
#include "client/cpp/local_stream.h"
#include "client/cpp/shared_results.h"
#include "concord/v1/step.pb.h"
#include "proto/local/memory_region.h"
#include "proto/wire/payload.h"

namespace concord {

class SharedVectors {
 public:
  // `stream` is not owned; vectors and update have so many bytes. `results`:
  // those of the worker's, where the server may write to them; null: it may
  // not.
  SharedVectors(LocalStream* stream, size_t vector_bytes, size_t update_bytes,
                std::shared_ptr<SharedResults> results)
      : stream_(stream),
        vector_bytes_(vector_bytes),
        update_bytes_(update_bytes),
        results_(std::move(results)) {}

  // Makes sure that there is a place for each of `count` vectors and one for
  // the update: `update` itself, where it is of the results' memory. False:
  // there is no such memory, or the server does not take it; it is not asked
  // for again.
  bool Reserve(size_t count, const void* update, const Limit& limit);

  // Of the vector in that position of the header. Valid after Reserve.
  absl::Span<std::byte> vector(size_t position) const {
    return vectors_[position].region.bytes().subspan(0, vector_bytes_);
  }

  // Where the message says that the update, or a part of it, is in its place:
  // that part as `data`. DATA_LOSS where there is no such part.
  absl::Status FindUpdate(const v1::StepResponse& message,
                          wire::Payload* data) const;

  // Tells the server where everything is.
  void SetPlaces(v1::StepHeader* header) const;

 private:
  struct Place {
    local::MemoryRegion region;
    uint32_t number;
  };
  // Nothing: as for Reserve.
  std::optional<Place> Add(size_t bytes, const Limit& limit);
  // The number by which the server knows `update`; 0: it does not.
  uint32_t Pass(const SharedResults::Found& update, const Limit& limit);

  LocalStream* const stream_;
  const size_t vector_bytes_;
  const size_t update_bytes_;
  const std::shared_ptr<SharedResults> results_;
  std::vector<Place> vectors_;
  // For updates that go to other memory than the results'.
  std::optional<Place> own_update_;
  // By the result's id: 0, the server has refused it.
  absl::flat_hash_map<uint64_t, uint32_t> passed_;
  // Of the coming update.
  absl::Span<std::byte> update_;
  uint32_t update_number_ = 0;
  bool refused_ = false;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SHARED_VECTORS_H_
