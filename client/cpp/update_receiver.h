// The server's half of one step, message by message, into the caller's memory.
#ifndef CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_
#define CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/half_types.h"
#include "proto/options/element_type.h"
#include "proto/wire/checksum.h"
#include "proto/wire/payload.h"

namespace concord {

// A vector that comes in chunks without gap.
class VectorReceiver {
 public:
  // `size` bytes come. `to` has room for them; with `half` for their elements
  // in fp32, to which they are widened.
  VectorReceiver(std::byte* to, size_t size,
                 std::optional<HalfType> half = std::nullopt)
      : to_(to), size_(size) {
    if (half.has_value()) half_.emplace(*half);
  }

  // DATA_LOSS unless the bytes go on where the last ones ended.
  absl::Status Add(uint64_t offset, const wire::Payload& data);
  // DATA_LOSS unless everything has come and has this checksum.
  absl::Status Check(uint64_t checksum) const;

 private:
  std::byte* const to_;
  const size_t size_;
  size_t received_ = 0;
  std::optional<HalfReader> half_;
  size_t widened_ = 0;  // Elements.
  wire::Checksum checksum_;
};

class UpdateReceiver {
 public:
  // What must come: step and epoch, and `length` elements of `type`. `update`
  // has room for them; elements of 16 bits are widened to fp32.
  UpdateReceiver(uint64_t step, uint64_t epoch, uint64_t length,
                 v1::DataType type, std::byte* update)
      : step_(step),
        epoch_(epoch),
        length_(length),
        type_(type),
        vector_(update, length * ElementBytes(type), ToHalfType(type)) {}

  // The next message, with the data that came in it; takes what it needs out
  // of the message. DATA_LOSS where it is not what must come now.
  absl::Status Add(v1::StepResponse* message, const wire::Payload& data);

  // The trailer has come, and its checksum fits.
  bool complete() const { return complete_; }

  // Valid when complete.
  v1::StepResult& result() { return result_; }
  v1::StepTrailer& trailer() { return trailer_; }

 private:
  absl::Status SetResult(v1::StepResult* result);
  absl::Status SetTrailer(v1::StepTrailer* trailer);

  const uint64_t step_;
  const uint64_t epoch_;
  const uint64_t length_;
  const v1::DataType type_;
  VectorReceiver vector_;
  v1::StepResult result_;
  v1::StepTrailer trailer_;
  bool has_result_ = false;
  bool complete_ = false;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_
