// Rounds over gRPC: leaving, and the answer to who comes late.
#include <string>

#include "gmock/gmock.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

constexpr size_t kLength = 1000;

// Two ranks, of which one suffices once it has waited this long.
v1::Session Quorum(int straggler_seconds) {
  v1::Session session;
  session.set_num_vectors(2);
  session.set_num_parameters(kLength);
  session.set_num_workers(2);
  session.set_min_workers(1);
  session.mutable_straggler_timeout()->set_seconds(straggler_seconds);
  return session;
}

void SendLeave(StreamClient* client) {
  v1::StepRequest request;
  request.mutable_leave();
  client->Send(request);
}

TEST(Leave, EndsTheStreamWithOkAndTheRoundThatWaitedForIt) {
  TestServer server;
  server.Create("s", Quorum(3600));
  StreamClient stays(server), leaves(server);
  stays.Join("sessions/s", 0, 1);
  leaves.Join("sessions/s", 1, 2);
  stays.SendStep(1, {{0, RandomVector(kLength, 1)}});
  // In the middle of its contribution.
  leaves.SendHeader(leaves.Header(1, {{1, RandomVector(kLength, 3)}}));
  leaves.SendChunk(0, 0, std::string(100, 'x'));
  SendLeave(&leaves);
  const grpc::Status status = leaves.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  const absl::StatusOr<Answer> answer = stays.ReadAnswer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->result.dropped());
  EXPECT_THAT(answer->result.missing_ranks(), testing::ElementsAre(1));
}

TEST(Leave, IsNoFirstMessage) {
  TestServer server;
  StreamClient client(server);
  SendLeave(&client);
  const WireError error = ReadError(client.Finish());
  EXPECT_EQ(error.reason, "PROTOCOL_VIOLATION");
  EXPECT_EQ(error.value, "leave");
}

TEST(Straggler, GetsTheCommittedUpdateFlagged) {
  TestServer server;
  server.Create("s", Quorum(0));
  StreamClient fast(server), slow(server);
  fast.Join("sessions/s", 0, 1);
  slow.Join("sessions/s", 1, 2);
  fast.SendContribution(
      1, {{0, RandomVector(kLength, 1)}, {1, RandomVector(kLength, 2)}});
  const absl::StatusOr<Answer> first = fast.ReadAnswer();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->result.dropped());
  slow.SendContribution(1, {{1, RandomVector(kLength, 3)}});
  const absl::StatusOr<Answer> late = slow.ReadAnswer();
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_TRUE(late->result.dropped());
  EXPECT_THAT(late->result.missing_ranks(), testing::ElementsAre(1));
  EXPECT_EQ(late->update, first->update);
  EXPECT_EQ(late->trailer.checksum(), first->trailer.checksum());
}

TEST(Straggler, ThatMissedStepsIsToldToTakeWeights) {
  TestServer server;
  server.Create("s", Quorum(0));
  StreamClient fast(server), slow(server);
  fast.Join("sessions/s", 0, 1);
  slow.Join("sessions/s", 1, 2);
  for (uint64_t step = 1; step <= 3; ++step) {
    fast.SendContribution(
        step, {{0, RandomVector(kLength, 1)}, {1, RandomVector(kLength, 2)}});
    ASSERT_TRUE(fast.ReadAnswer().ok());
  }
  slow.SendContribution(1, {{1, RandomVector(kLength, 3)}});
  const WireError error = ReadError(slow.Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(error.reason, "RESYNC_WEIGHTS");
  EXPECT_EQ(error.metadata.at("committed_step"), "3");
}

}  // namespace
}  // namespace concord
