#include "server/rpc/grpc_pipe.h"

#include <string>

#include "grpc/grpc.h"
#include "grpcpp/server_context.h"

namespace concord {

bool GrpcPipe::Read(grpc::ByteBuffer* message) {
  return stream_->Read(message);
}

bool GrpcPipe::Write(const grpc::ByteBuffer& message) {
  return stream_->Write(message);
}

void GrpcPipe::Cancel(const absl::Status& reason) {
  // TryCancel says CANCELLED alone; this is what it does, with a reason.
  const std::string message(reason.message());
  grpc_call_cancel_with_status(context_->c_call(),
                               static_cast<grpc_status_code>(reason.code()),
                               message.c_str(), nullptr);
}

bool GrpcPipe::IsCancelled() const { return context_->IsCancelled(); }

absl::Span<std::byte> GrpcPipe::Region(uint32_t) const { return {}; }

}  // namespace concord
