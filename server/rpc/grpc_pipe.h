// A stream's messages over gRPC.
#ifndef CONCORD_SERVER_RPC_GRPC_PIPE_H_
#define CONCORD_SERVER_RPC_GRPC_PIPE_H_

#include "grpcpp/support/sync_stream.h"
#include "server/rpc/message_pipe.h"

namespace grpc {
class ServerContext;
}

namespace concord {

using ByteStream = grpc::ServerReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

class GrpcPipe final : public MessagePipe {
 public:
  // Neither is owned.
  GrpcPipe(grpc::ServerContext* context, ByteStream* stream)
      : context_(context), stream_(stream) {}

  bool Read(grpc::ByteBuffer* message) override;
  bool Write(const grpc::ByteBuffer& message) override;
  void Cancel(const absl::Status& reason) override;
  bool IsCancelled() const override;
  absl::Span<std::byte> Region(uint32_t number) const override;

 private:
  grpc::ServerContext* const context_;
  ByteStream* const stream_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_GRPC_PIPE_H_
