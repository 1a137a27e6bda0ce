#include "proto/wire/codec.h"

#include <string>

#include "concord/v1/step.pb.h"
#include "gmock/gmock.h"
#include "tests/proto/wire/byte_buffers.h"

namespace concord::wire {
namespace {

Fragment AsFragment(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(Codec, EncodedChunksAreOrdinaryMessages) {
  const std::string first(100, 'a');
  const std::string second(30000, 'b');
  v1::VectorChunk chunk;
  chunk.set_vector(2);
  chunk.set_offset(uint64_t{1} << 40);
  const grpc::Slice data[] = {BorrowSlice(AsFragment(first)),
                              BorrowSlice(AsFragment(second))};
  v1::StepRequest read;
  ASSERT_TRUE(
      read.ParseFromString(Flatten(EncodeWithData(kChunkField, chunk, data))));
  EXPECT_EQ(read.chunk().vector(), 2);
  EXPECT_EQ(read.chunk().offset(), uint64_t{1} << 40);
  EXPECT_EQ(read.chunk().data(), first + second);
}

TEST(Codec, EncodedBytesAreProtobufsOwn) {
  const std::string data = "0123456789";
  v1::StepResponse whole;
  whole.mutable_reply()->mutable_result()->set_step(7);
  whole.mutable_reply()->mutable_trailer()->set_checksum(11);
  whole.mutable_reply()->set_data(data);
  v1::StepReply reply = whole.reply();
  reply.clear_data();
  const grpc::Slice slice = BorrowSlice(AsFragment(data));
  EXPECT_EQ(Flatten(EncodeWithData(kReplyField, reply, {&slice, 1})),
            whole.SerializeAsString());
  EXPECT_EQ(Flatten(Encode(whole)), whole.SerializeAsString());
}

TEST(Codec, ReceivedDataStaysInTheReceivedSlices) {
  v1::StepRequest message;
  message.mutable_chunk()->set_offset(5);
  message.mutable_chunk()->set_data(std::string(5000, 'x'));
  const std::string bytes = message.SerializeAsString();
  const grpc::ByteBuffer buffer = CutBuffer(bytes, {1000, 3000});
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(buffer.Dump(&slices).ok());

  v1::StepRequest read;
  Payload data;
  ASSERT_TRUE(Decode(buffer, &read, &data));
  EXPECT_EQ(read.chunk().offset(), 5);
  EXPECT_TRUE(read.chunk().data().empty());
  ASSERT_EQ(data.fragments().size(), 3);
  EXPECT_EQ(static_cast<const void*>(data.fragments()[1].data()),
            static_cast<const void*>(slices[1].begin()));
  EXPECT_EQ(data.fragments()[1].size(), 2000);
}

TEST(Codec, DataOutlivesTheBufferItCameIn) {
  v1::StepRequest message;
  message.mutable_chunk()->set_data(std::string(5000, 'x'));
  v1::StepRequest read;
  Payload data;
  {
    const grpc::ByteBuffer buffer = CutBuffer(message.SerializeAsString());
    ASSERT_TRUE(Decode(buffer, &read, &data));
  }
  EXPECT_EQ(Flatten(data), std::string(5000, 'x'));
}

TEST(Codec, DataBeforeOtherFieldsIsReadToo) {
  // chunk {data: "abc", offset: 4}: legal, though nobody here writes it.
  const std::string inner = {0x7a, 3, 'a', 'b', 'c', 0x10, 4};
  const std::string bytes =
      std::string{0x1a, static_cast<char>(inner.size())} + inner;
  v1::StepRequest read;
  Payload data;
  ASSERT_TRUE(Decode(CutBuffer(bytes), &read, &data));
  EXPECT_EQ(read.chunk().offset(), 4);
  EXPECT_TRUE(read.chunk().data().empty());
  EXPECT_EQ(Flatten(data), "abc");
}

TEST(Codec, AnEmptyBufferIsAnEmptyMessage) {
  v1::StepRequest read;
  read.mutable_join();
  Payload data(std::string("old"));
  ASSERT_TRUE(Decode(CutBuffer(""), &read, &data));
  EXPECT_EQ(read.message_case(), v1::StepRequest::MESSAGE_NOT_SET);
  EXPECT_EQ(data.size(), 0);
}

TEST(Codec, GarbageIsNoMessage) {
  v1::StepRequest read;
  Payload data;
  EXPECT_FALSE(Decode(CutBuffer("\xff\xff\xff"), &read, &data));
}

}  // namespace
}  // namespace concord::wire
