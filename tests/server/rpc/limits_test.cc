// What one caller may have of a server, as it is told on the wire.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/session/caller_account.h"
#include "tests/server/rpc/rpc_harness.h"
#include "tests/server/session/one_limit.h"

namespace concord {
namespace {

using testing::HasSubstr;

std::function<void(Server::Options*)> With(const CallerLimits& limits) {
  return [limits](Server::Options* options) {
    options->sessions.limits.per_caller = limits;
  };
}

grpc::Status CreateSession(const TestServer& server, const std::string& id,
                           size_t n) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  request.mutable_session()->set_num_vectors(2);
  request.mutable_session()->set_num_parameters(n);
  v1::Session session;
  grpc::ClientContext context;
  return v1::Concord::NewStub(server.Connect())
      ->CreateSession(&context, request, &session);
}

// Of the server's own account of refusals.
double Limited(const Server& server, const std::string& limit) {
  const std::string text =
      server.metrics().Text([] { return Metrics::Facts(); });
  const std::string line = "concord_limited_total{limit=\"" + limit + "\"} ";
  const size_t begin = text.find(line);
  return begin == std::string::npos
             ? -1
             : std::stod(text.substr(begin + line.size()));
}

TEST(Limits, AStreamTooManyOfACallerIsRefusedAndTheOthersGoOn) {
  TestServer server(With(OneLimit(&CallerLimits::max_streams, 1)));
  server.Create("heat", 10, /*workers=*/2);
  StreamClient first(server);
  first.Join("sessions/heat", 0);
  StreamClient second(server);
  second.SendJoin("sessions/heat", 1);
  const WireError error = ReadError(second.Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(error.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(error.metadata.at("limit"), "max_streams_per_caller");
  EXPECT_EQ(error.metadata.at("value"), "2");
  EXPECT_EQ(error.metadata.at("accepted"), "1");
  EXPECT_EQ(error.metadata.at("caller"), "local");
  EXPECT_EQ(error.retry_delay, absl::ZeroDuration());
  const auto logged = server.Logged("stream_refused");
  ASSERT_EQ(logged.size(), 1);
  EXPECT_THAT(logged[0], HasSubstr("\"caller\":\"local\""));
  EXPECT_EQ(Limited(server.server(), "max_streams_per_caller"), 1);
  // The first one's end makes room.
  first.WritesDone();
  EXPECT_TRUE(first.Finish().ok());
  StreamClient third(server);
  third.Join("sessions/heat", 1);
}

TEST(Limits, ASessionTooManyOfACallerIsRefusedUntilOneIsDeleted) {
  TestServer server(With(OneLimit(&CallerLimits::max_sessions, 1)));
  ASSERT_TRUE(CreateSession(server, "one", 10).ok());
  const WireError error = ReadError(CreateSession(server, "two", 10));
  EXPECT_EQ(error.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(error.metadata.at("limit"), "max_sessions_per_caller");
  EXPECT_EQ(server.Logged("session_refused").size(), 1);
  v1::DeleteSessionRequest request;
  request.set_name("sessions/one");
  google::protobuf::Empty empty;
  grpc::ClientContext context;
  ASSERT_TRUE(v1::Concord::NewStub(server.Connect())
                  ->DeleteSession(&context, request, &empty)
                  .ok());
  EXPECT_TRUE(CreateSession(server, "two", 10).ok());
  EXPECT_EQ(Limited(server.server(), "max_sessions_per_caller"), 1);
}

TEST(Limits, SessionsAndCombinationsShareACallersMemory) {
  TestServer server(
      With(OneLimit(&CallerLimits::memory_budget_bytes, 1 << 20)));
  ASSERT_TRUE(CreateSession(server, "small", 1000).ok());
  const WireError error = ReadError(CreateSession(server, "large", 100'000));
  EXPECT_EQ(error.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(error.metadata.at("limit"), "memory_budget_per_caller_bytes");
  const auto stub = v1::Concord::NewStub(server.Connect());
  grpc::ClientContext context;
  const auto stream = stub->Combine(&context);
  v1::CombineRequest request;
  request.mutable_header()->mutable_combiner()->mutable_mean();
  request.mutable_header()->set_num_vectors(2);
  request.mutable_header()->set_num_parameters(200'000);
  request.mutable_header()->set_data_type(v1::FLOAT32);
  stream->Write(request);
  v1::CombineResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(ReadError(stream->Finish()).metadata.at("limit"),
            "memory_budget_per_caller_bytes");
  EXPECT_EQ(Limited(server.server(), "memory_budget_per_caller_bytes"), 2);
}

TEST(Limits, AStepTooSoonIsToldWhenToComeAgainAndIsNotLost) {
  // So slow that it is too soon however long the test takes.
  TestServer server(With(OneLimit(&CallerLimits::max_step_rate, 1e-3)));
  server.Create("heat", 10);
  const Vector gradient = RandomVector(10, 1);
  {
    StreamClient client(server);
    client.Join("sessions/heat");
    client.SendStep(1, {{0, gradient}, {1, gradient}});
    ASSERT_TRUE(client.ReadAnswer().ok());
    client.SendStep(2, {{0, gradient}});
    const WireError error = ReadError(client.Finish());
    EXPECT_EQ(error.code, absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(error.reason, "LIMIT_EXCEEDED");
    EXPECT_EQ(error.metadata.at("limit"), "max_step_rate_per_caller");
    EXPECT_GT(error.retry_delay, absl::Seconds(900));
    EXPECT_LE(error.retry_delay, absl::Seconds(1000));
  }
  EXPECT_EQ(Limited(server.server(), "max_step_rate_per_caller"), 1);
  const auto session = server.server().registry().Get("sessions/heat");
  EXPECT_EQ((*session)->Describe().committed_step(), 1);
}

TEST(Limits, MicroBatchesAreOneStep) {
  TestServer server(With(OneLimit(&CallerLimits::max_step_rate, 1e-3)));
  server.Create("heat", 10);
  StreamClient client(server);
  client.Join("sessions/heat");
  for (uint32_t part = 0; part < 3; ++part) {
    v1::StepHeader header =
        client.Header(1, {{0, Vector(10)}, {1, Vector(10)}});
    header.mutable_accumulation()->set_micro_batch(part);
    header.mutable_accumulation()->set_last(part == 2);
    client.SendHeader(header);
    client.SendChunk(0, 0, AsBytes(RandomVector(10, 1)));
    client.SendChunk(1, 0, AsBytes(RandomVector(10, 2)));
  }
  EXPECT_TRUE(client.ReadAnswer().ok());
}

}  // namespace
}  // namespace concord
