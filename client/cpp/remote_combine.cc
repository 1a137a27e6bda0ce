#include "client/cpp/remote_combine.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/channel.h"
#include "client/cpp/retry.h"
#include "client/cpp/update_receiver.h"
#include "client/cpp/vector_sender.h"
#include "operators/errors.h"
#include "proto/wire/codec.h"

namespace concord {
namespace {

constexpr char kCombineMethod[] = "/concord.v1.Concord/Combine";

}  // namespace

size_t RemoteCombine::VectorBytes() const {
  return header_.num_parameters() *
         (header_.data_type() == v1::FLOAT64 ? 8 : 4);
}

// What the server could not see: bad pointers.
absl::Status RemoteCombine::CheckMemory() const {
  if (vectors_.size() != header_.num_vectors()) {
    return InvalidField("INVALID_OPTION", "vectors",
                        absl::StrCat(vectors_.size(), " vectors"),
                        absl::StrCat(header_.num_vectors(), " vectors"));
  }
  if (result_ == nullptr) {
    return InvalidField("INVALID_OPTION", "result", "null",
                        "memory for one vector");
  }
  for (size_t i = 0; i < vectors_.size(); ++i) {
    if (vectors_[i] == nullptr) {
      return InvalidField("INVALID_OPTION", absl::StrCat("vectors[", i, "]"),
                          "null", "memory of one vector");
    }
    if (Overlap(vectors_[i], VectorBytes(), result_, VectorBytes())) {
      return InvalidField("INVALID_OPTION", "result",
                          absl::StrCat("memory of vectors[", i, "]"),
                          "memory that overlaps no vector");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CombineOutcome> RemoteCombine::Run(const CallOptions& options) {
  absl::Status status = CheckMemory();
  if (!status.ok()) return status;
  const Limit limit(options.timeout, options.is_cancelled);
  Backoff backoff(client_.retry);
  CombineOutcome outcome;
  for (Tries tries(&backoff, client_.retry.max_attempts, limit);;) {
    ++outcome.attempts;
    status = Try(&outcome.result, limit);
    if (status.ok()) return outcome;
    const bool again =
        IsWorthRetrying(status, /*incarnation=*/0, /*joined=*/false);
    if (!tries.Again(&status, again)) return status;
  }
}

absl::Status RemoteCombine::Try(v1::CombineResult* found, const Limit& limit) {
  absl::StatusOr<Line> line = MakeLine(server_, client_);
  if (!line.ok()) return line.status();
  Connection connection(*std::move(line), kCombineMethod);
  if (!Send(&connection, limit)) return connection.Close(limit);
  absl::Status status = Receive(&connection, found, limit);
  // The result is whole, however the stream ends.
  if (status.ok()) (void)connection.Leave(limit);
  return status;
}

bool RemoteCombine::Send(Connection* connection, const Limit& limit) {
  v1::CombineRequest message;
  *message.mutable_header() = header_;
  if (!connection->Write(wire::Encode(message), limit)) return false;
  for (size_t i = 0; i < vectors_.size(); ++i) {
    if (!SendVector(connection, static_cast<int>(i), vectors_[i], VectorBytes(),
                    client_.chunk_bytes, limit)) {
      return false;
    }
  }
  return true;
}

absl::Status RemoteCombine::Receive(Connection* connection,
                                    v1::CombineResult* found,
                                    const Limit& limit) {
  VectorReceiver vector(static_cast<std::byte*>(result_), VectorBytes());
  grpc::ByteBuffer buffer;
  v1::CombineResponse response;
  wire::Payload data;
  bool has_result = false;
  for (;;) {
    if (!connection->Read(&buffer, limit)) return connection->Close(limit);
    if (!wire::Decode(buffer, &response, &data)) {
      return absl::DataLossError("the server sent an unreadable message");
    }
    absl::Status status;
    if (response.has_result() && !has_result) {
      has_result = true;
      found->Swap(response.mutable_result());
    } else if (response.has_chunk() && has_result) {
      status = vector.Add(response.chunk().offset(), data);
    } else if (response.has_trailer() && has_result) {
      return vector.Check(response.trailer().checksum());
    } else {
      status = absl::DataLossError(
          absl::StrCat("the server sent a message out of turn (case ",
                       response.message_case(), ")"));
    }
    if (!status.ok()) return status;
  }
}

}  // namespace concord
