// The `data` of a received message, left where gRPC (or protobuf) put it, and
// slices for sending memory that somebody else owns.
#ifndef CONCORD_PROTO_WIRE_PAYLOAD_H_
#define CONCORD_PROTO_WIRE_PAYLOAD_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "grpcpp/support/slice.h"

namespace concord::wire {

using Fragment = absl::Span<const std::byte>;

// Bytes in one or more pieces, in order; no piece is empty. The memory lives
// as long as the Payload (or what it was moved into).
class Payload {
 public:
  Payload() = default;
  // Bytes [begin, end) of the slices' concatenation, which must be that long.
  Payload(std::vector<grpc::Slice> slices, size_t begin, size_t end);
  explicit Payload(std::string bytes);
  Payload(Payload&&) noexcept = default;
  Payload& operator=(Payload&&) noexcept = default;

  absl::Span<const Fragment> fragments() const { return fragments_; }
  size_t size() const { return size_; }

  // Copies all bytes; `to` has room for size().
  void CopyTo(std::byte* to) const;

 private:
  std::vector<grpc::Slice> slices_;
  std::unique_ptr<const std::string> bytes_;
  absl::InlinedVector<Fragment, 4> fragments_;
  size_t size_ = 0;
};

// A slice of memory that `owner` keeps valid: gRPC releases its share of
// `owner` when the bytes have been sent. Nothing is copied, so that one buffer
// serves all receivers; the bytes must not change any more.
grpc::Slice ShareSlice(std::shared_ptr<const void> owner, Fragment bytes);

// A slice of memory that outlives the whole call (its Finish).
grpc::Slice BorrowSlice(Fragment bytes);

}  // namespace concord::wire

#endif  // CONCORD_PROTO_WIRE_PAYLOAD_H_
