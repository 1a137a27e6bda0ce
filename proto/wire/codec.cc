#include "proto/wire/codec.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "concord/v1/combine.pb.h"
#include "concord/v1/step.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/support/proto_buffer_reader.h"

namespace concord::wire {
namespace {

using google::protobuf::MessageLite;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t LengthDelimitedTag(int field) {
  return WireFormatLite::MakeTag(field,
                                 WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}
constexpr uint32_t kDataTag = LengthDelimitedTag(kDataField);

// Skips one field inside a message; false where protobuf itself should look.
bool SkipField(CodedInputStream* input, uint32_t tag) {
  uint64_t ignored;
  uint32_t size;
  switch (WireFormatLite::GetTagWireType(tag)) {
    case WireFormatLite::WIRETYPE_VARINT:
      return input->ReadVarint64(&ignored);
    case WireFormatLite::WIRETYPE_FIXED64:
      return input->Skip(8);
    case WireFormatLite::WIRETYPE_FIXED32:
      return input->Skip(4);
    case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
      return input->ReadVarint32(&size) && size <= INT32_MAX &&
             input->Skip(static_cast<int>(size));
    default:
      return false;
  }
}

// Where the parts lie of a message that is one field, itself a message whose
// last field is `data`.
struct Parts {
  int field;
  size_t begin;  // Of the inner message.
  size_t data_tag;
  size_t data;  // Begin of the bytes, which reach to the message's end.
};

// Nothing for any other message, also for a malformed one.
std::optional<Parts> FindParts(const grpc::ByteBuffer& buffer, size_t size) {
  grpc::ByteBuffer view(buffer);  // The reader wants it writable.
  grpc::ProtoBufferReader reader(&view);
  if (!reader.status().ok()) return std::nullopt;
  CodedInputStream input(&reader);
  const auto position = [&] {
    return static_cast<size_t>(input.CurrentPosition());
  };
  Parts parts;
  uint32_t length;
  const uint32_t outer = input.ReadTag();
  if (outer == 0 || WireFormatLite::GetTagWireType(outer) !=
                        WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
    return std::nullopt;
  }
  parts.field = WireFormatLite::GetTagFieldNumber(outer);
  if (!input.ReadVarint32(&length)) return std::nullopt;
  parts.begin = position();
  if (parts.begin + length != size) return std::nullopt;
  while (position() < size) {
    parts.data_tag = position();
    const uint32_t tag = input.ReadTag();
    if (tag == 0) return std::nullopt;
    if (tag == kDataTag) {
      if (!input.ReadVarint32(&length)) return std::nullopt;
      parts.data = position();
      if (parts.data + length != size) return std::nullopt;
      return parts;
    }
    if (!SkipField(&input, tag)) return std::nullopt;
  }
  return std::nullopt;
}

// Parses the bytes [begin, end) of the slices' concatenation.
bool ParseRange(const std::vector<grpc::Slice>& slices, size_t begin,
                size_t end, MessageLite* message) {
  if (!slices.empty() && end <= slices.front().size()) {
    return message->ParseFromArray(slices.front().begin() + begin,
                                   static_cast<int>(end - begin));
  }
  std::string flat(end - begin, '\0');
  Payload(slices, begin, end).CopyTo(reinterpret_cast<std::byte*>(flat.data()));
  return message->ParseFromString(flat);
}

// The message inside `message` that `field` names, if that one has `data`.
MessageLite* PartWithData(v1::StepRequest* message, int field) {
  if (field == kChunkField) return message->mutable_chunk();
  if (field == kContributionField) return message->mutable_contribution();
  return nullptr;
}
MessageLite* PartWithData(v1::StepResponse* message, int field) {
  if (field == kChunkField) return message->mutable_chunk();
  if (field == kReplyField) return message->mutable_reply();
  return nullptr;
}
template <class Combine>  // CombineRequest, CombineResponse
MessageLite* PartWithData(Combine* message, int field) {
  return field == kChunkField ? message->mutable_chunk() : nullptr;
}

// The `data` that protobuf's parser has put into the message.
std::string* MutableData(v1::StepRequest* message) {
  if (message->has_chunk()) return message->mutable_chunk()->mutable_data();
  if (message->has_contribution()) {
    return message->mutable_contribution()->mutable_data();
  }
  return nullptr;
}
std::string* MutableData(v1::StepResponse* message) {
  if (message->has_chunk()) return message->mutable_chunk()->mutable_data();
  if (message->has_reply()) return message->mutable_reply()->mutable_data();
  return nullptr;
}
template <class Combine>
std::string* MutableData(Combine* message) {
  return message->has_chunk() ? message->mutable_chunk()->mutable_data()
                              : nullptr;
}

template <class Message>
bool DecodeWithData(const grpc::ByteBuffer& buffer, Message* message,
                    Payload* data) {
  message->Clear();  // Of what protobuf did not know in the message before.
  const size_t size = buffer.Length();
  if (const std::optional<Parts> parts = FindParts(buffer, size)) {
    if (MessageLite* part = PartWithData(message, parts->field)) {
      std::vector<grpc::Slice> slices;
      if (!buffer.Dump(&slices).ok()) return false;
      if (!ParseRange(slices, parts->begin, parts->data_tag, part)) {
        return false;
      }
      *data = Payload(std::move(slices), parts->data, size);
      return true;
    }
  }
  if (!Decode(buffer, message)) return false;
  std::string* bytes = MutableData(message);
  *data = bytes == nullptr ? Payload() : Payload(std::exchange(*bytes, {}));
  return true;
}

}  // namespace

bool Decode(const grpc::ByteBuffer& buffer, MessageLite* message) {
  if (!buffer.Valid() || buffer.Length() == 0) {
    message->Clear();
    return true;
  }
  grpc::ByteBuffer view(buffer);
  grpc::ProtoBufferReader reader(&view);
  return reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
}

bool Decode(const grpc::ByteBuffer& buffer, v1::StepRequest* message,
            Payload* data) {
  return DecodeWithData(buffer, message, data);
}
bool Decode(const grpc::ByteBuffer& buffer, v1::StepResponse* message,
            Payload* data) {
  return DecodeWithData(buffer, message, data);
}
bool Decode(const grpc::ByteBuffer& buffer, v1::CombineRequest* message,
            Payload* data) {
  return DecodeWithData(buffer, message, data);
}
bool Decode(const grpc::ByteBuffer& buffer, v1::CombineResponse* message,
            Payload* data) {
  return DecodeWithData(buffer, message, data);
}

grpc::ByteBuffer Encode(const MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer EncodeWithData(int field, const MessageLite& part,
                                absl::Span<const grpc::Slice> data) {
  size_t data_size = 0;
  for (const grpc::Slice& slice : data) data_size += slice.size();
  const size_t part_size = part.ByteSizeLong();
  const uint32_t outer = LengthDelimitedTag(field);
  const size_t inner = part_size + CodedOutputStream::VarintSize32(kDataTag) +
                       CodedOutputStream::VarintSize64(data_size) + data_size;
  grpc::Slice head(CodedOutputStream::VarintSize32(outer) +
                   CodedOutputStream::VarintSize64(inner) + inner - data_size);
  uint8_t* to = const_cast<uint8_t*>(head.begin());
  to = CodedOutputStream::WriteVarint32ToArray(outer, to);
  to = CodedOutputStream::WriteVarint64ToArray(inner, to);
  to = part.SerializeWithCachedSizesToArray(to);
  to = CodedOutputStream::WriteVarint32ToArray(kDataTag, to);
  CodedOutputStream::WriteVarint64ToArray(data_size, to);

  absl::InlinedVector<grpc::Slice, 4> slices;
  slices.push_back(std::move(head));
  slices.insert(slices.end(), data.begin(), data.end());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace concord::wire
