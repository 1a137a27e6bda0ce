// A worker's vectors in memory that it shares with the server: one place for
// each vector of a step and one for the update.
#ifndef CONCORD_CLIENT_CPP_SHARED_VECTORS_H_
#define CONCORD_CLIENT_CPP_SHARED_VECTORS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/limit.h"
#include "client/cpp/local_stream.h"
#include "concord/v1/step.pb.h"
#include "proto/local/memory_region.h"
#include "proto/wire/payload.h"

namespace concord {

class SharedVectors {
 public:
  // `stream` is not owned; vectors and update have so many bytes.
  SharedVectors(LocalStream* stream, size_t vector_bytes, size_t update_bytes)
      : stream_(stream),
        vector_bytes_(vector_bytes),
        update_bytes_(update_bytes) {}

  // Makes sure that there is the update's place and one for each of `count`
  // vectors. False: there is no such memory, or the server does not take it;
  // it is not asked for again.
  bool Reserve(size_t count, const Limit& limit);

  // Of the vector in that position of the header. Valid after Reserve.
  absl::Span<std::byte> vector(size_t position) const {
    return places_[1 + position].region.bytes().subspan(0, vector_bytes_);
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
  bool Add(size_t bytes, const Limit& limit);

  LocalStream* const stream_;
  const size_t vector_bytes_;
  const size_t update_bytes_;
  std::vector<Place> places_;  // The update's, then the vectors'.
  bool refused_ = false;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_SHARED_VECTORS_H_
