// Clients that read late or never.
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

// Far more than what gRPC and the kernel buffer.
constexpr size_t kLong = 6'000'000;
constexpr size_t kShort = 1000;

TEST(SlowReader, MayWriteEverythingBeforeItReads) {
  TestServer server;
  server.Create("s", kLong);
  StreamClient client(server);
  client.Join("sessions/s");
  const std::map<uint32_t, Vector> vectors = {{0, RandomVector(kLong, 1)},
                                              {1, RandomVector(kLong, 2)}};
  client.SendStep(1, vectors);
  client.WritesDone();
  const absl::StatusOr<Answer> answer = client.ReadAnswer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->update.size(), kLong * sizeof(float));
  EXPECT_TRUE(client.Finish().ok());
}

TEST(SlowReader, OneThatStopsReadingIsCancelledAndOthersGoOn) {
  TestServer server;
  server.Create("s", kLong, /*workers=*/3, absl::Seconds(1));
  StreamClient stuck(server);
  stuck.Join("sessions/s", 0, 1);
  StreamClient second(server);
  second.Join("sessions/s", 1, 2);
  StreamClient third(server);
  third.Join("sessions/s", 2, 3);

  stuck.SendStep(1, {{0, RandomVector(kLong, 1)}});
  second.SendStep(1, {{1, RandomVector(kLong, 2)}});
  third.SendStep(1, {});
  v1::StepResponse response;
  ASSERT_TRUE(stuck.ReadOne(&response));  // The result,
  ASSERT_TRUE(stuck.ReadOne(&response));  // the first chunk, and no more.
  EXPECT_TRUE(response.has_chunk());
  absl::StatusOr<Answer> other;
  std::thread reader([&] { other = third.ReadAnswer(); });
  const absl::StatusOr<Answer> first = second.ReadAnswer();
  reader.join();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(other.ok()) << other.status();

  // The server ends its stream by itself; it then asks again.
  EXPECT_THAT(server.AwaitLogged("stream_failed"),
              testing::HasSubstr("SEND_TIMEOUT"));
  EXPECT_EQ(stuck.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  StreamClient again(server);
  again.Join("sessions/s", 0, 1);
  again.SendStep(1, {}, /*attempt=*/2);
  const absl::StatusOr<Answer> repeated = again.ReadAnswer();
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_TRUE(repeated->result.repeated());
  EXPECT_EQ(repeated->update, first->update);
}

TEST(SlowReader, ANewerStreamOfTheRankTellsTheOlderOneWhy) {
  TestServer server;
  server.Create("s", kShort);
  StreamClient older(server);
  older.Join("sessions/s", 0, 1);
  StreamClient newer(server);
  newer.Join("sessions/s", 0, 1);
  const grpc::Status status = older.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("SUPERSEDED"));
  newer.SendContribution(
      1, {{0, RandomVector(kShort, 1)}, {1, RandomVector(kShort, 2)}});
  EXPECT_TRUE(newer.ReadAnswer().ok());
}

}  // namespace
}  // namespace concord
