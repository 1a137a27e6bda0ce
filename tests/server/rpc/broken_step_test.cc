// A broken step gets its documented status on the wire and changes nothing: the
// next good step is bit for bit that of an undisturbed twin.
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

constexpr size_t kLength = 1000;
using Vectors = std::map<uint32_t, Vector>;

Vectors Gradients(int step) {
  return {{0, RandomVector(kLength, 10 * step)},
          {1, RandomVector(kLength, 10 * step + 1)}};
}

struct Case {
  std::string name;
  absl::StatusCode code;
  std::string reason, field, value;
  // Breaks step 2 on a stream that has joined and taken step 1.
  std::function<void(StreamClient*)> run;
};

void PrintTo(const Case& broken, std::ostream* out) { *out << broken.name; }

std::function<void(StreamClient*)> Header(
    std::function<void(v1::StepHeader*)> change) {
  return [change](StreamClient* client) {
    v1::StepHeader header = client->Header(2, Gradients(2));
    change(&header);
    client->SendHeader(header);
  };
}

// Sends 100 bytes in their place and then a wrong chunk.
std::function<void(StreamClient*)> Chunk(uint32_t vector, uint64_t offset,
                                         size_t size) {
  return [=](StreamClient* client) {
    client->SendHeader(client->Header(2, Gradients(2)));
    client->SendChunk(0, 0, std::string(100, 'x'));
    client->SendChunk(vector, offset, std::string(size, 'x'));
  };
}

std::function<void(StreamClient*)> Element(float value) {
  return [=](StreamClient* client) {
    Vectors vectors = Gradients(2);
    vectors[1][700] = value;
    client->SendStep(2, vectors);
  };
}

std::vector<Case> Cases() {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  constexpr float kInf = std::numeric_limits<float>::infinity();
  return {
      {"WrongLength", kInvalid, "LENGTH_MISMATCH", "header.vectors[1].length",
       "999", Header([](auto* h) { h->mutable_vectors(1)->set_length(999); })},
      {"WrongDataType", kInvalid, "DATA_TYPE_MISMATCH",
       "header.vectors[0].data_type", "FLOAT64", Header([](auto* h) {
         h->mutable_vectors(0)->set_data_type(v1::FLOAT64);
       })},
      {"IndexOutOfRange", kInvalid, "INDEX_OUT_OF_RANGE",
       "header.vectors[0].index", "2",
       Header([](auto* h) { h->mutable_vectors(0)->set_index(2); })},
      {"DuplicateIndex", kInvalid, "DUPLICATE_INDEX", "header.vectors[1].index",
       "0", Header([](auto* h) { h->mutable_vectors(1)->set_index(0); })},
      {"LossesWithoutRecorder", kInvalid, "LOSSES_WITHOUT_RECORDER",
       "header.losses", "1 values",
       Header([](auto* h) { h->add_losses()->set_value(1); })},
      {"StaleStep", kPrecondition, "STEP_STALE", "header.step", "0",
       Header([](auto* h) { h->set_step(0); })},
      {"FutureStep", kPrecondition, "STEP_AHEAD", "header.step", "3",
       Header([](auto* h) { h->set_step(3); })},
      {"WrongEpoch", kPrecondition, "EPOCH_CHANGED", "header.epoch", "2",
       Header([](auto* h) { h->set_epoch(2); })},
      {"AnAccumulation", absl::StatusCode::kUnimplemented, "NOT_SERVED",
       "header.accumulation", "given",
       Header([](auto* h) { h->mutable_accumulation()->set_last(true); })},
      {"MissingChunk", kInvalid, "CHUNK_MISPLACED", "chunk.offset", "200",
       Chunk(0, 200, 100)},
      {"OverlappingChunk", kInvalid, "CHUNK_MISPLACED", "chunk.offset", "50",
       Chunk(0, 50, 100)},
      {"AnotherVectorsTurn", kInvalid, "CHUNK_MISPLACED", "chunk.vector", "1",
       Chunk(1, 0, 100)},
      {"BeyondTheVectorsEnd", kInvalid, "CHUNK_TOO_LARGE", "chunk.data",
       "3901 bytes", Chunk(0, 100, 3901)},
      {"OversizeChunk", kInvalid, "CHUNK_TOO_LARGE", "chunk.data",
       "4128769 bytes", Chunk(0, 100, (4 << 20) - (64 << 10) + 1)},
      {"OversizeContribution", kInvalid, "CHUNK_TOO_LARGE", "contribution.data",
       "8001 bytes",
       [](StreamClient* client) {
         v1::StepRequest request;
         *request.mutable_contribution()->mutable_header() =
             client->Header(2, Gradients(2));
         request.mutable_contribution()->set_data(std::string(8001, '\0'));
         client->Send(request);
       }},
      {"NotANumber", kInvalid, "NON_FINITE", "vector 1[700]", "NaN or Inf",
       Element(std::nanf(""))},
      {"Infinity", kInvalid, "NON_FINITE", "vector 1[700]", "NaN or Inf",
       Element(kInf)},
      {"ChunkWithoutHeader", kInvalid, "PROTOCOL_VIOLATION", "message", "chunk",
       [](StreamClient* client) { client->SendChunk(0, 0, "abc"); }},
      {"EmptyMessage", kInvalid, "PROTOCOL_VIOLATION", "message", "(none)",
       [](StreamClient* client) { client->Send({}); }},
      {"SecondJoin", kInvalid, "PROTOCOL_VIOLATION", "message", "join",
       [](StreamClient* client) { client->SendJoin("sessions/s"); }},
      {"HeaderAmidChunks", kInvalid, "PROTOCOL_VIOLATION", "message", "header",
       [](StreamClient* client) {
         client->SendHeader(client->Header(2, Gradients(2)));
         client->SendHeader(client->Header(2, Gradients(2)));
       }},
      {"EndAmidChunks", kInvalid, "PROTOCOL_VIOLATION", "message",
       "end of the stream",
       [](StreamClient* client) {
         client->SendHeader(client->Header(2, Gradients(2)));
         client->SendChunk(0, 0, std::string(100, 'x'));
         client->WritesDone();
       }},
      {"StreamCut", absl::StatusCode::kCancelled, "", "", "",
       [](StreamClient* client) {
         client->SendHeader(client->Header(2, Gradients(2)));
         client->SendChunk(0, 0, std::string(100, 'x'));
         client->Cut();
       }},
  };
}

class BrokenStep : public testing::TestWithParam<Case> {};

TEST_P(BrokenStep, IsToldAndChangesNothing) {
  const Case& broken = GetParam();
  TestServer server;
  server.Create("s", kLength);
  server.Create("twin", kLength);
  StreamClient twin(server);
  twin.Join("sessions/twin");
  StreamClient client(server);
  client.Join("sessions/s");
  for (StreamClient* each : {&twin, &client}) {
    each->SendStep(1, Gradients(1));
    ASSERT_TRUE(each->ReadAnswer().ok());
  }
  twin.SendStep(2, Gradients(2));
  const absl::StatusOr<Answer> expected = twin.ReadAnswer();
  ASSERT_TRUE(expected.ok()) << expected.status();

  broken.run(&client);
  const WireError error = ReadError(client.Finish());
  EXPECT_EQ(error.code, broken.code);
  EXPECT_EQ(error.reason, broken.reason);
  EXPECT_EQ(error.field, broken.field);
  EXPECT_EQ(error.value, broken.value);
  EXPECT_LE(error.detail_bytes, 2048);

  StreamClient again(server);
  EXPECT_EQ(again.Join("sessions/s").committed_step(), 1);
  again.SendStep(2, Gradients(2), /*attempt=*/2);
  const absl::StatusOr<Answer> answer = again.ReadAnswer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update, expected->update);
  EXPECT_EQ(answer->trailer.checksum(), expected->trailer.checksum());
}

// One vector per rank; the twin's ranks come at once.
TEST(LateWorker, IsNamedToThoseWhoWaitAndTheRoundStartsAnew) {
  TestServer server;
  server.Create("s", kLength, 2, absl::Seconds(60), absl::Seconds(1));
  server.Create("twin", kLength, 2);
  const Vectors gradients = Gradients(1);
  const auto part = [&](uint32_t rank) {
    return Vectors{{rank, gradients.at(rank)}};
  };
  {
    StreamClient waiting(server);
    waiting.Join("sessions/s", 0);
    waiting.SendStep(1, part(0));
    const WireError error = ReadError(waiting.Finish());
    EXPECT_EQ(error.code, absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(error.reason, "ROUND_TIMEOUT");
    EXPECT_EQ(error.metadata.at("missing_ranks"), "1");
    EXPECT_EQ(error.metadata.at("step"), "1");
  }
  std::vector<std::string> updates;
  for (const char* name : {"sessions/s", "sessions/twin"}) {
    StreamClient first(server), second(server);
    EXPECT_EQ(first.Join(name, 0).committed_step(), 0);
    second.Join(name, 1);
    first.SendStep(1, part(0), /*attempt=*/2);
    second.SendStep(1, part(1));
    for (StreamClient* client : {&first, &second}) {
      const absl::StatusOr<Answer> answer = client->ReadAnswer();
      ASSERT_TRUE(answer.ok()) << answer.status();
      updates.push_back(answer->update);
    }
  }
  for (const std::string& update : updates) EXPECT_EQ(update, updates[0]);
}

INSTANTIATE_TEST_SUITE_P(All, BrokenStep, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace concord
