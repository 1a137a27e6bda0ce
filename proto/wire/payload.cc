#include "proto/wire/payload.h"

#include <algorithm>
#include <cstring>

namespace concord::wire {

Payload::Payload(std::vector<grpc::Slice> slices, size_t begin, size_t end)
    : slices_(std::move(slices)), size_(end - begin) {
  size_t at = 0;  // Where the slice begins in the concatenation.
  for (const grpc::Slice& slice : slices_) {
    const size_t from = std::max(begin, at);
    const size_t to = std::min(end, at + slice.size());
    if (from < to) {
      fragments_.push_back(Fragment(
          reinterpret_cast<const std::byte*>(slice.begin()) + (from - at),
          to - from));
    }
    at += slice.size();
  }
}

// The string lives on the heap: moving a Payload must not move its bytes.
Payload::Payload(std::string bytes)
    : bytes_(std::make_unique<const std::string>(std::move(bytes))),
      size_(bytes_->size()) {
  if (size_ > 0) {
    fragments_.push_back(
        Fragment(reinterpret_cast<const std::byte*>(bytes_->data()), size_));
  }
}

void Payload::CopyTo(std::byte* to) const {
  for (const Fragment& fragment : fragments_) {
    std::memcpy(to, fragment.data(), fragment.size());
    to += fragment.size();
  }
}

grpc::Slice ShareSlice(std::shared_ptr<const void> owner, Fragment bytes) {
  using Owner = std::shared_ptr<const void>;
  return grpc::Slice(
      const_cast<std::byte*>(bytes.data()), bytes.size(),
      [](void* share) { delete static_cast<Owner*>(share); },
      new Owner(std::move(owner)));
}

grpc::Slice BorrowSlice(Fragment bytes) {
  return grpc::Slice(bytes.data(), bytes.size(), grpc::Slice::STATIC_SLICE);
}

}  // namespace concord::wire
