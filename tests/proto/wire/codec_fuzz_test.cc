// The raw reader against protobuf's own parser: random messages, valid and
// mutated, cut into slices at random places, must be taken or refused alike and
// mean the same.
//
// CONCORD_FUZZ_ITERATIONS (default 20000 per message type) and
// CONCORD_FUZZ_SEED (default: a fixed one) make longer and other runs.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "concord/v1/combine.pb.h"
#include "concord/v1/step.pb.h"
#include "gmock/gmock.h"
#include "proto/wire/codec.h"
#include "tests/proto/wire/byte_buffers.h"

namespace concord::wire {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Below(uint64_t limit) { return engine_() % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // Of all magnitudes.
  uint64_t Number() { return engine_() >> Below(64); }
  std::string Bytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(engine_());
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

// ---- Wire format by hand: also what no generated code would write ----------

std::string Varint(uint64_t value, Random* random) {
  std::string bytes;
  while (value >= 0x80) {
    bytes.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  // Sometimes longer than it needs to be.
  if (random->OneIn(40)) {
    bytes.push_back(static_cast<char>(value | 0x80));
    value = 0;
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Tag(uint64_t field, int type, Random* random) {
  return Varint(field << 3 | type, random);
}

std::string Delimited(uint64_t field, const std::string& bytes,
                      Random* random) {
  return Tag(field, 2, random) + Varint(bytes.size(), random) + bytes;
}

std::string AnyField(Random* random) {
  static constexpr uint64_t kFields[] = {1, 2, 3, 4, 9, 15, 16, 200};
  const uint64_t field = kFields[random->Below(std::size(kFields))];
  switch (random->Below(6)) {
    case 0:
    case 1:
      return Tag(field, 0, random) + Varint(random->Number(), random);
    case 2:
      return Tag(field, 1, random) + random->Bytes(8);
    case 3:
      return Tag(field, 5, random) + random->Bytes(4);
    case 4:
      return Tag(field, 3, random) +
             (random->OneIn(2) ? AnyField(random) : "") + Tag(field, 4, random);
    default:
      return Delimited(field, random->Bytes(random->Below(20)), random);
  }
}

std::string HeaderLike(Random* random) {
  v1::StepHeader header;
  header.set_step(random->Number());
  header.set_attempt(static_cast<uint32_t>(random->Number()));
  for (uint64_t i = random->Below(3); i > 0; --i) {
    header.add_vectors()->set_length(random->Number());
    header.add_losses()->set_value(1.5);
  }
  return header.SerializeAsString();
}

// The inside of a chunk or contribution, nearly always well-formed.
std::string Inner(Random* random) {
  std::string inner;
  if (random->OneIn(3)) {
    if (!random->OneIn(4)) {
      inner += Delimited(1, HeaderLike(random), random);
    }
  } else {
    if (!random->OneIn(4)) {
      inner += Tag(1, 0, random) + Varint(random->Number(), random);
    }
    if (!random->OneIn(4)) {
      inner += Tag(2, 0, random) + Varint(random->Number(), random);
    }
  }
  while (random->OneIn(5)) inner += AnyField(random);
  if (!random->OneIn(6)) {
    inner += Delimited(15, random->Bytes(random->Below(60)), random);
  }
  while (random->OneIn(8)) inner += AnyField(random);
  return inner;
}

std::string RandomMessage(Random* random) {
  static constexpr uint64_t kFields[] = {3, 3, 3, 9, 9, 1, 2, 4};
  std::string bytes = Delimited(kFields[random->Below(std::size(kFields))],
                                Inner(random), random);
  while (random->OneIn(6)) bytes += AnyField(random);
  while (random->OneIn(10)) {
    bytes += Delimited(kFields[random->Below(std::size(kFields))],
                       Inner(random), random);
  }
  if (random->OneIn(3)) {  // Damage.
    for (uint64_t i = 1 + random->Below(3); i > 0 && !bytes.empty(); --i) {
      const size_t at = random->Below(bytes.size());
      switch (random->Below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random->Number());
          break;
        case 1:
          bytes[at] ^= static_cast<char>(1 << random->Below(8));
          break;
        case 2:
          bytes.resize(at);
          break;
        default:
          bytes.insert(at, random->Bytes(1 + random->Below(3)));
      }
    }
  }
  return bytes;
}

std::vector<size_t> RandomCuts(size_t size, Random* random) {
  std::vector<size_t> cuts;
  for (size_t at = 0; random->OneIn(2) && at < size;) {
    at += random->Below(size - at + 1);  // Also empty slices.
    cuts.push_back(at);
  }
  return cuts;
}

std::string TakeData(v1::StepRequest* message) {
  if (message->has_chunk()) {
    return std::exchange(*message->mutable_chunk()->mutable_data(), "");
  }
  if (message->has_contribution()) {
    return std::exchange(*message->mutable_contribution()->mutable_data(), "");
  }
  return "";
}
std::string TakeData(v1::StepResponse* message) {
  if (message->has_chunk()) {
    return std::exchange(*message->mutable_chunk()->mutable_data(), "");
  }
  if (message->has_reply()) {
    return std::exchange(*message->mutable_reply()->mutable_data(), "");
  }
  return "";
}
template <class Combine>
std::string TakeData(Combine* message) {
  return message->has_chunk()
             ? std::exchange(*message->mutable_chunk()->mutable_data(), "")
             : "";
}

template <class Message>
class CodecFuzz : public testing::Test {};
using Messages = testing::Types<v1::StepRequest, v1::StepResponse,
                                v1::CombineRequest, v1::CombineResponse>;
TYPED_TEST_SUITE(CodecFuzz, Messages);

TYPED_TEST(CodecFuzz, DecodeAcceptsAndMeansWhatProtobufDoes) {
  const uint64_t seed = FromEnvironment("CONCORD_FUZZ_SEED", 20240607);
  const uint64_t iterations = FromEnvironment("CONCORD_FUZZ_ITERATIONS", 20000);
  std::printf("CONCORD_FUZZ_SEED=%llu, %llu messages\n",
              static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(iterations));
  Random random(seed);
  uint64_t taken = 0;
  uint64_t with_data = 0;
  TypeParam reused;  // Must not remember the message before.
  Payload payload;
  for (uint64_t i = 0; i < iterations; ++i) {
    const std::string bytes = RandomMessage(&random);
    const auto cuts = RandomCuts(bytes.size(), &random);
    TypeParam expected;
    const bool valid = expected.ParseFromString(bytes);
    const grpc::ByteBuffer buffer = CutBuffer(bytes, cuts);
    ASSERT_EQ(Decode(buffer, &reused, &payload), valid)
        << "message " << i << ": " << testing::PrintToString(bytes);
    if (!valid) continue;
    ++taken;
    const std::string data = TakeData(&expected);
    with_data += !data.empty();
    ASSERT_EQ(Flatten(payload), data) << "message " << i;
    ASSERT_EQ(reused.SerializeAsString(), expected.SerializeAsString())
        << "message " << i << ": " << testing::PrintToString(bytes);
  }
  // The run has seen enough of each kind to say something.
  EXPECT_GT(taken, iterations / 3);
  EXPECT_LT(taken, iterations);
  EXPECT_GT(with_data, iterations / 5);
}

}  // namespace
}  // namespace concord::wire
