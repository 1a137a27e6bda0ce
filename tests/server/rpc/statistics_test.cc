// GetServerStatistics.
#include <string>

#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

grpc::Status Ask(const TestServer& server, const std::string& session,
                 v1::ServerStatistics* statistics) {
  v1::GetServerStatisticsRequest request;
  request.set_session(session);
  grpc::ClientContext context;
  return v1::Concord::NewStub(server.Connect())
      ->GetServerStatistics(&context, request, statistics);
}

// Steps of one rank, the last of them asked for twice.
void TakeSteps(const TestServer& server, const std::string& session,
               uint64_t steps) {
  StreamClient client(server);
  client.Join(session);
  for (uint64_t step = 1; step <= steps; ++step) {
    client.SendStep(step,
                    {{0, RandomVector(1000, 1)}, {1, RandomVector(1000, 2)}});
    ASSERT_TRUE(client.ReadAnswer().ok());
  }
  client.SendStep(steps, {}, /*attempt=*/2);
  ASSERT_TRUE(client.ReadAnswer().ok());
  client.WritesDone();
  ASSERT_TRUE(client.Finish().ok());
}

TEST(Statistics, TheServersAreTheSumOfItsSessionsAlsoOfThoseThatAreGone) {
  TestServer server;
  server.Create("a", 1000);
  server.Create("b", 1000);
  TakeSteps(server, "sessions/a", 3);
  TakeSteps(server, "sessions/b", 2);
  v1::ServerStatistics found;
  ASSERT_TRUE(Ask(server, "", &found).ok());
  EXPECT_GT(found.start_time().seconds(), 0);
  ASSERT_EQ(found.sessions_size(), 2);
  const v1::Statistics& all = found.total();
  const v1::Statistics& a = found.sessions(0).statistics();
  const v1::Statistics& b = found.sessions(1).statistics();
  EXPECT_EQ(found.sessions(0).session(), "sessions/a");
  EXPECT_EQ(a.steps().conflict_free(), 3);
  EXPECT_EQ(a.answers().update(), 3);
  EXPECT_EQ(a.answers().repeated(), 1);
  EXPECT_EQ(b.steps().conflict_free(), 2);
  EXPECT_EQ(all.steps().conflict_free(), 5);
  EXPECT_EQ(all.answers().update(), 5);
  EXPECT_EQ(all.answers().repeated(), 2);
  for (const auto* each : {&a, &all}) {
    EXPECT_EQ(each->solve().count(), each == &a ? 3 : 5);
    EXPECT_EQ(each->ingest().count(), each->receive().count());
    EXPECT_EQ(each->wait().count(), each->receive().count());
    EXPECT_EQ(each->send().count(),
              each->answers().update() + each->answers().repeated());
    EXPECT_GT(each->ingest().sum().nanos(), 0);
    EXPECT_GT(each->commit().sum().nanos(), 0);
  }
  // 3 steps of two gradients of 4000 bytes in, 4 updates out, and little more.
  EXPECT_GT(a.received_bytes(), 24'000);
  EXPECT_LT(a.received_bytes(), 26'000);
  EXPECT_GT(a.sent_bytes(), 16'000);
  EXPECT_LT(a.sent_bytes(), 20'000);
  EXPECT_EQ(all.received_bytes(), a.received_bytes() + b.received_bytes());
  EXPECT_EQ(all.sent_bytes(), a.sent_bytes() + b.sent_bytes());

  v1::DeleteSessionRequest request;
  request.set_name("sessions/b");
  google::protobuf::Empty empty;
  grpc::ClientContext context;
  ASSERT_TRUE(v1::Concord::NewStub(server.Connect())
                  ->DeleteSession(&context, request, &empty)
                  .ok());
  ASSERT_TRUE(Ask(server, "", &found).ok());
  EXPECT_EQ(found.sessions_size(), 1);
  EXPECT_EQ(found.total().steps().conflict_free(), 5);
}

TEST(Statistics, OneSessionsComeAlone) {
  TestServer server;
  server.Create("a", 1000);
  server.Create("b", 1000);
  v1::ServerStatistics found;
  ASSERT_TRUE(Ask(server, "sessions/b", &found).ok());
  EXPECT_FALSE(found.has_total());
  ASSERT_EQ(found.sessions_size(), 1);
  EXPECT_EQ(found.sessions(0).session(), "sessions/b");
  EXPECT_EQ(ReadError(Ask(server, "sessions/c", &found)).reason,
            "SESSION_NOT_FOUND");
}

TEST(Statistics, AStreamThatFailsIsItsSessions) {
  TestServer server;
  server.Create("a", 1000);
  {
    StreamClient client(server);
    client.Join("sessions/a");
    client.SendStep(7, {});
    EXPECT_EQ(ReadError(client.Finish()).reason, "STEP_AHEAD");
  }
  v1::ServerStatistics found;
  ASSERT_TRUE(Ask(server, "", &found).ok());
  EXPECT_EQ(found.sessions(0).statistics().failed_streams(), 1);
  EXPECT_EQ(found.total().failed_streams(), 1);
  EXPECT_GT(found.sessions(0).statistics().received_bytes(), 0);
}

}  // namespace
}  // namespace concord
