// Byte buffers for tests, cut at chosen places.
#ifndef CONCORD_TESTS_PROTO_WIRE_BYTE_BUFFERS_H_
#define CONCORD_TESTS_PROTO_WIRE_BYTE_BUFFERS_H_

#include <string>
#include <vector>

#include "grpcpp/support/byte_buffer.h"
#include "proto/wire/payload.h"

namespace concord::wire {

// `bytes` in slices that begin at 0 and at each of the (rising) `cuts`.
inline grpc::ByteBuffer CutBuffer(const std::string& bytes,
                                  const std::vector<size_t>& cuts = {}) {
  std::vector<grpc::Slice> slices;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    slices.emplace_back(bytes.data() + begin, cut - begin);
    begin = cut;
  }
  slices.emplace_back(bytes.data() + begin, bytes.size() - begin);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

inline std::string Flatten(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

inline std::string Flatten(const Payload& payload) {
  std::string bytes(payload.size(), '\0');
  payload.CopyTo(reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

}  // namespace concord::wire

#endif  // CONCORD_TESTS_PROTO_WIRE_BYTE_BUFFERS_H_
