// Vectors in the caller's memory as the chunks of a stream.
#ifndef CONCORD_CLIENT_CPP_VECTOR_SENDER_H_
#define CONCORD_CLIENT_CPP_VECTOR_SENDER_H_

#include <cstddef>

#include "client/cpp/connection.h"
#include "client/cpp/limit.h"

namespace concord {

// Sends `size` bytes at `data` as VectorChunks of the vector in that position
// of the header, `chunk_bytes` each but the last. The memory is lent to the
// connection. False as for Connection::Write.
bool SendVector(Connection* connection, int position, const void* data,
                size_t size, size_t chunk_bytes, const Limit& limit);

// Do the `size` bytes at `a` and those at `b` share any?
bool Overlap(const void* a, const void* b, size_t size);

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_VECTOR_SENDER_H_
