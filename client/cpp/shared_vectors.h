// A worker's vectors in memory that it shares with the server: for each vector
// of a step and for the update a place, which is the caller's own memory where
// that is shared already.
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
#include "client/cpp/shared_pool.h"
#include "concord/v1/step.pb.h"
#include "proto/local/memory_region.h"
#include "proto/wire/payload.h"

namespace concord {

class SharedVectors {
 public:
  // `stream` is not owned; vectors and update have so many bytes. `gradients`,
  // `updates`: the worker's memory from which the server may read and into
  // which it may write; null: there is none.
  SharedVectors(LocalStream* stream, size_t vector_bytes, size_t update_bytes,
                std::shared_ptr<SharedPool> gradients,
                std::shared_ptr<SharedPool> updates)
      : stream_(stream),
        vector_bytes_(vector_bytes),
        update_bytes_(update_bytes),
        gradients_{std::move(gradients), {}},
        updates_{std::move(updates), {}} {}

  // Finds a place for each of a step's vectors and one for its update: the
  // memory itself where it is of the pools', else one that is kept here.
  // `vectors`: null for one that is converted on its way. False: there is no
  // such memory, or the server does not take it; it is not asked for again.
  bool Reserve(absl::Span<const void* const> vectors, const void* update,
               const Limit& limit);

  // Of the vector in that position of the header. Valid after Reserve.
  absl::Span<std::byte> vector(size_t position) const {
    return step_vectors_[position].bytes.subspan(0, vector_bytes_);
  }

  // Where the message says that the update, or a part of it, is in its place:
  // that part as `data`. DATA_LOSS where there is no such part.
  absl::Status FindUpdate(const v1::StepResponse& message,
                          wire::Payload* data) const;

  // Tells the server where everything is.
  void SetPlaces(v1::StepHeader* header) const;

 private:
  struct Place {
    absl::Span<std::byte> bytes;
    uint32_t number;  // By which the server knows the region.
  };
  struct Own {
    local::MemoryRegion region;
    uint32_t number;
  };
  struct Lent {
    std::shared_ptr<SharedPool> pool;
    // Numbers by the pool's id; 0: the server has refused it.
    absl::flat_hash_map<uint64_t, uint32_t> passed;
  };
  // New memory. Nothing: as for Reserve.
  std::optional<Own> Add(size_t bytes, const Limit& limit);
  // Of the pool's memory; nothing: it is other memory, or was refused.
  std::optional<Place> Find(Lent* lent, const void* memory, const Limit& limit);

  LocalStream* const stream_;
  const size_t vector_bytes_;
  const size_t update_bytes_;
  Lent gradients_;
  Lent updates_;
  // For vectors and updates in other memory than the pools'.
  std::vector<Own> own_vectors_;
  std::optional<Own> own_update_;
  // Of the step under way.
  std::vector<Place> step_vectors_;
  std::optional<Place> update_;
  bool refused_ = false;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SHARED_VECTORS_H_
