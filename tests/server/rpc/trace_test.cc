// From a call's traceparent to the log.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/trace_context.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kSampled[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kNotSampled[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
constexpr char kIds[] =
    "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
    "\"span_id\":\"00f067aa0ba902b7\"";

TEST(Trace, TheMetadatasIsInTheCallsLogLines) {
  TestServer server;
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::CreateSessionRequest request;
  request.set_session_id("heat");
  request.mutable_session()->set_num_vectors(2);
  request.mutable_session()->set_num_parameters(10);
  v1::Session session;
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    context.AddMetadata(kTraceparent, kSampled);
    EXPECT_EQ(stub->CreateSession(&context, request, &session).ok(), i == 0);
    request.set_session_id("HEAT");
  }
  EXPECT_THAT(server.Logged("session_created")[0], HasSubstr(kIds));
  EXPECT_THAT(server.Logged("session_refused")[0], HasSubstr(kIds));
}

TEST(Trace, ACallWithoutOneOrWithNonsenseHasNoIds) {
  TestServer server;
  server.Create("heat", 10);
  const auto stub = v1::Concord::NewStub(server.Connect());
  grpc::ClientContext context;
  context.AddMetadata(kTraceparent, "00-nonsense");
  v1::DeleteSessionRequest request;
  request.set_name("sessions/heat");
  google::protobuf::Empty empty;
  EXPECT_TRUE(stub->DeleteSession(&context, request, &empty).ok());
  EXPECT_THAT(server.Logged("session_created")[0], Not(HasSubstr("trace_id")));
  EXPECT_THAT(server.Logged("session_deleted")[0], Not(HasSubstr("trace_id")));
}

// A step with this traceparent in its header.
v1::StepHeader Traced(const StreamClient& client, uint64_t step,
                      const std::string& traceparent) {
  v1::StepHeader header = client.Header(step, {});
  header.set_traceparent(traceparent);
  return header;
}

TEST(Trace, ASampledStepHasALineOfItsOwnAndOthersHaveNone) {
  TestServer server;
  server.Create("heat", 1000);
  StreamClient client(server);
  client.Join("sessions/heat");
  client.SendStep(1, {{0, RandomVector(1000, 1)}, {1, RandomVector(1000, 2)}});
  ASSERT_TRUE(client.ReadAnswer().ok());
  uint32_t attempt = 2;
  for (const char* traceparent : {kNotSampled, "nonsense", kSampled, ""}) {
    v1::StepHeader header = Traced(client, 1, traceparent);
    header.set_attempt(attempt++);
    client.SendHeader(header);
    ASSERT_TRUE(client.ReadAnswer().ok());
  }
  client.WritesDone();
  ASSERT_TRUE(client.Finish().ok());
  const auto logged = server.Logged("step_answered");
  ASSERT_EQ(logged.size(), 1);
  EXPECT_THAT(logged[0],
              AllOf(HasSubstr(kIds),
                    HasSubstr("\"session\":\"sessions/heat\",\"rank\":0,"
                              "\"step\":1,\"repeated\":1"),
                    HasSubstr("\"commit_s\":")));
}

TEST(Trace, AStreamsErrorNamesTheStepsTraceElseTheStreams) {
  for (const bool of_step : {true, false}) {
    TestServer server;
    server.Create("heat", 10);
    StreamClient client(server);
    v1::StepRequest request;
    request.mutable_join()->set_session("sessions/heat");
    request.mutable_join()->set_incarnation(1);
    request.mutable_join()->set_traceparent(of_step ? "" : kNotSampled);
    client.Send(request);
    v1::StepResponse response;
    ASSERT_TRUE(client.ReadOne(&response));
    client.SendHeader(Traced(client, 9, of_step ? kSampled : ""));
    EXPECT_EQ(ReadError(client.Finish()).reason, "STEP_AHEAD");
    EXPECT_THAT(server.AwaitLogged("stream_failed"), HasSubstr(kIds));
  }
}

}  // namespace
}  // namespace concord
