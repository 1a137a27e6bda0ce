// Messages of the `Step` and `Combine` streams as raw gRPC buffers.
//
// The streams carry ordinary protobuf messages; this is merely a way to read
// and write them without copying their bulk. Decode accepts and means exactly
// what protobuf's own parser does: where a message ends in the `data` field
// (as both sides of this project write it) everything before it is given to
// protobuf and `data` stays where it is; every other message is given to
// protobuf whole.
//
// Receiving:   v1::StepRequest request;      // may be reused for the next one
//              Payload data;
//              if (!Decode(buffer, &request, &data)) …   // not a message
//              switch (request.message_case()) …
//              // request.chunk().data() is empty; the bytes are in `data`
//
// Sending:     v1::VectorChunk chunk;  chunk.set_vector(1);
// chunk.set_offset(0);
//              stream->Write(EncodeWithData(kChunkField, chunk,
//                                           {BorrowSlice(bytes)}))
//
// Threads: free functions without state.
#ifndef CONCORD_PROTO_WIRE_CODEC_H_
#define CONCORD_PROTO_WIRE_CODEC_H_

#include "absl/types/span.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "proto/wire/payload.h"

namespace concord::v1 {
class CombineRequest;
class CombineResponse;
class StepRequest;
class StepResponse;
}  // namespace concord::v1

namespace concord::wire {

// Field numbers of the messages that end in `data`, the same in all four
// messages, and of `data` itself in them.
inline constexpr int kChunkField = 3;         // VectorChunk, UpdateChunk
inline constexpr int kContributionField = 9;  // StepRequest: StepContribution
inline constexpr int kReplyField = 9;         // StepResponse: StepReply
inline constexpr int kDataField = 15;

// Any message, protobuf's way. False: not a message of this type.
bool Decode(const grpc::ByteBuffer& buffer,
            google::protobuf::MessageLite* message);

// As above; the `data` of a chunk, contribution or reply comes back in `data`
// and is empty in `message`. Both are overwritten. On false both are
// unspecified.
bool Decode(const grpc::ByteBuffer& buffer, v1::StepRequest* message,
            Payload* data);
bool Decode(const grpc::ByteBuffer& buffer, v1::StepResponse* message,
            Payload* data);
bool Decode(const grpc::ByteBuffer& buffer, v1::CombineRequest* message,
            Payload* data);
bool Decode(const grpc::ByteBuffer& buffer, v1::CombineResponse* message,
            Payload* data);

// Any message, protobuf's way.
grpc::ByteBuffer Encode(const google::protobuf::MessageLite& message);

// The message {field: {all fields of `part`, data: the slices' concatenation}}
// with `part` a VectorChunk, UpdateChunk, StepContribution or StepReply whose
// own `data` is empty. The slices are shared with gRPC, not copied.
grpc::ByteBuffer EncodeWithData(int field,
                                const google::protobuf::MessageLite& part,
                                absl::Span<const grpc::Slice> data);

}  // namespace concord::wire

#endif  // CONCORD_PROTO_WIRE_CODEC_H_
