// The server's half of one step, message by message, into the caller's memory.
#ifndef CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_
#define CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "concord/v1/step.pb.h"
#include "proto/wire/checksum.h"
#include "proto/wire/payload.h"

namespace concord {

// A vector that comes in chunks without gap.
class VectorReceiver {
 public:
  // `to` has room for `size` bytes.
  VectorReceiver(std::byte* to, size_t size) : to_(to), size_(size) {}

  // DATA_LOSS unless the bytes go on where the last ones ended.
  absl::Status Add(uint64_t offset, const wire::Payload& data);
  // DATA_LOSS unless everything has come and has this checksum.
  absl::Status Check(uint64_t checksum) const;

 private:
  std::byte* const to_;
  const size_t size_;
  size_t received_ = 0;
  wire::Checksum checksum_;
};

class UpdateReceiver {
 public:
  // What must come: step and epoch, and `size` bytes of `length` elements.
  UpdateReceiver(uint64_t step, uint64_t epoch, uint64_t length, size_t size,
                 std::byte* update)
      : step_(step), epoch_(epoch), length_(length), vector_(update, size) {}

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
  VectorReceiver vector_;
  v1::StepResult result_;
  v1::StepTrailer trailer_;
  bool has_result_ = false;
  bool complete_ = false;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_UPDATE_RECEIVER_H_
