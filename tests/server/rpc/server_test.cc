// The server's life: ready, limits, health, reflection, draining.
#include "server/rpc/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/impl/rpc_method.h"
#include "server/rpc/stream_table.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

constexpr size_t kLength = 1000;

// Sends one raw message to a method and gives what comes back. Reflection has
// no generated headers here.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel,
                     const char* name, const std::string& request,
                     std::string* response) {
  grpc::ClientContext context;
  const grpc::internal::RpcMethod method(
      name, grpc::internal::RpcMethod::BIDI_STREAMING, channel);
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>
      stream(grpc::internal::ClientReaderWriterFactory<
             grpc::ByteBuffer, grpc::ByteBuffer>::Create(channel.get(), method,
                                                         &context));
  const grpc::Slice slice(request);
  stream->Write(grpc::ByteBuffer(&slice, 1));
  stream->WritesDone();
  grpc::ByteBuffer buffer;
  while (stream->Read(&buffer)) {
    std::vector<grpc::Slice> slices;
    (void)buffer.Dump(&slices);
    for (const grpc::Slice& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()),
                       part.size());
    }
  }
  return stream->Finish();
}

bool IsServing(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& service) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = grpc::health::v1::Health::NewStub(channel)->Check(
      &context, request, &response);
  return status.ok() &&
         response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

TEST(Server, IsHealthyWhenItHasStarted) {
  TestServer server;
  EXPECT_TRUE(IsServing(server.Connect(), ""));
  EXPECT_TRUE(IsServing(server.Connect(), "concord.v1.Concord"));
}

TEST(Server, ReflectionListsTheService) {
  TestServer server;
  // ServerReflectionRequest.list_services = "*".
  std::string response;
  ASSERT_TRUE(CallRaw(server.Connect(),
                      "/grpc.reflection.v1alpha.ServerReflection/"
                      "ServerReflectionInfo",
                      "\x3a\x01*", &response)
                  .ok());
  EXPECT_THAT(response, testing::HasSubstr("concord.v1.Concord"));
}

TEST(Server, RefusesAMessageThatIsNone) {
  TestServer server;
  std::string response;
  const WireError error = ReadError(CallRaw(
      server.Connect(), "/concord.v1.Concord/Step", "\xff\xff", &response));
  EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error.reason, "PROTOCOL_VIOLATION");
  EXPECT_EQ(error.value, "2 bytes");
}

TEST(Server, RefusesStreamsBeyondItsLimitUntilOneEnds) {
  TestServer server([](Server::Options* options) {
    options->sessions.limits.max_streams = 1;
  });
  server.Create("s", kLength);
  {
    StreamClient first(server);
    first.Join("sessions/s");
    StreamClient second(server);
    second.SendJoin("sessions/s");
    const WireError error = ReadError(second.Finish());
    EXPECT_EQ(error.code, absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(error.reason, "LIMIT_EXCEEDED");
    EXPECT_EQ(error.metadata.at("limit"), "max_streams");
    EXPECT_EQ(error.metadata.at("accepted"), "1");
    first.WritesDone();
    EXPECT_TRUE(first.Finish().ok());
  }
  ASSERT_TRUE(server.server().streams().AwaitEmpty(absl::Seconds(10)));
  StreamClient third(server);
  third.Join("sessions/s");
}

TEST(Server, NamesTheSessionThatIsNotThere) {
  TestServer server;
  StreamClient client(server);
  client.SendJoin("sessions/none");
  const WireError error = ReadError(client.Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kNotFound);
  EXPECT_EQ(error.reason, "SESSION_NOT_FOUND");
}

TEST(Server, DeletingASessionEndsItsStreams) {
  TestServer server;
  server.Create("s", kLength);
  StreamClient client(server);
  client.Join("sessions/s");
  grpc::ClientContext context;
  v1::DeleteSessionRequest request;
  request.set_name("sessions/s");
  google::protobuf::Empty empty;
  ASSERT_TRUE(v1::Concord::NewStub(server.Connect())
                  ->DeleteSession(&context, request, &empty)
                  .ok());
  EXPECT_EQ(client.Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(server.Logged("session_deleted").size(), 1);
}

TEST(Server, AContributionMeansWhatHeaderAndChunksDo) {
  TestServer server;
  server.Create("parts", kLength);
  server.Create("whole", kLength);
  const std::map<uint32_t, Vector> vectors = {{0, RandomVector(kLength, 1)},
                                              {1, RandomVector(kLength, 2)}};
  StreamClient parts(server);
  parts.Join("sessions/parts");
  parts.SendStep(1, vectors, 1, /*chunk_bytes=*/333);
  StreamClient whole(server);
  whole.Join("sessions/whole");
  whole.SendContribution(1, vectors);
  const absl::StatusOr<Answer> a = parts.ReadAnswer();
  const absl::StatusOr<Answer> b = whole.ReadAnswer();
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->update, b->update);
}

TEST(Server, DrainsAtOnceWhenItsStreamsAreIdle) {
  TestServer server;
  server.Create("s", kLength);
  StreamClient joined(server);
  joined.Join("sessions/s");
  StreamClient silent(server);  // Connected, has not joined.
  const absl::Time begin = absl::Now();
  server.server().Drain(absl::Seconds(60));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30));
  EXPECT_EQ(joined.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Logged("stopped").size(), 1);
}

TEST(Server, UnixSocketsAreItsOwnersAloneAndGoWithIt) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "concord-rpc-", ::getpid());
  {
    TestServer server([&](Server::Options* options) {
      options->listen = {absl::StrCat("unix:", path)};
    });
    struct stat found;
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600);
    EXPECT_TRUE(IsServing(server.Connect(), ""));
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

absl::StatusOr<v1::SolveResponse> SolveIdentity(
    v1::Concord::Stub* stub, const v1::CombinerOptions& combiner,
    const v1::SolveResponse& last = {}) {
  grpc::ClientContext context;
  v1::SolveRequest request;
  request.mutable_gram()->set_rows(2);
  request.mutable_gram()->set_columns(2);
  for (const double value : {1, 0, 0, 1}) {
    request.mutable_gram()->add_values(value);
  }
  *request.mutable_combiner() = combiner;
  *request.mutable_state() = last.state();
  v1::SolveResponse response;
  const grpc::Status status = stub->Solve(&context, request, &response);
  if (status.ok()) return response;
  return absl::Status(ReadError(status).code, ReadError(status).field);
}

TEST(Server, SolvesGoOnFromTheStateThatTheCallerBrings) {
  TestServer server;
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::CombinerOptions combiner;
  combiner.mutable_random()->set_seed(3);
  const auto first = SolveIdentity(stub.get(), combiner);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = SolveIdentity(stub.get(), combiner, *first);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->state(0), 2);
  EXPECT_NE(first->solution().coefficients(0),
            second->solution().coefficients(0));
  EXPECT_EQ(SolveIdentity(stub.get(), combiner)->solution().coefficients(0),
            first->solution().coefficients(0));
}

TEST(Server, NoSolveForAMethodThatNeedsTheVectorsThemselves) {
  TestServer server;
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::CombinerOptions combiner;
  combiner.mutable_graddrop();
  const absl::Status status = SolveIdentity(stub.get(), combiner).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "combiner");
}

TEST(Server, ChangesASessionsOptionsOverTheWire) {
  TestServer server;
  server.Create("s", kLength);
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name("sessions/s");
  request.mutable_session()
      ->mutable_options()
      ->mutable_momentum()
      ->mutable_pseudo()
      ->set_beta_1(0.5);
  request.mutable_update_mask()->add_paths("options.momentum.pseudo.beta_1");
  v1::Session session;
  grpc::ClientContext context;
  ASSERT_TRUE(stub->UpdateSession(&context, request, &session).ok());
  EXPECT_EQ(session.options().momentum().pseudo().beta_1(), 0.5);
  EXPECT_THAT(server.Logged("session_updated"), ::testing::SizeIs(1));
  grpc::ClientContext again;
  request.mutable_update_mask()->set_paths(0, "num_vectors");
  const WireError error =
      ReadError(stub->UpdateSession(&again, request, &session));
  EXPECT_EQ(error.reason, "IMMUTABLE_OPTION");
  EXPECT_EQ(error.field, "update_mask.paths[0]");
  EXPECT_EQ(error.value, "num_vectors");
}

TEST(Server, ChangesASessionsLayoutOverTheWire) {
  TestServer server;
  v1::Session options;
  options.set_num_vectors(1);
  options.set_num_parameters(30);
  for (const char* name : {"trunk", "head"}) {
    v1::Layout::Segment* const segment =
        options.mutable_layout()->add_segments();
    segment->set_name(name);
    segment->add_shape(15);
  }
  server.Create("s", options);
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::UpdateLayoutRequest request;
  request.set_name("sessions/s");
  *request.mutable_layout()->add_segments() = options.layout().segments(1);
  v1::Session session;
  grpc::ClientContext context;
  ASSERT_TRUE(stub->UpdateLayout(&context, request, &session).ok());
  EXPECT_EQ(session.num_parameters(), 15);
  EXPECT_EQ(session.epoch(), 2);
  EXPECT_THAT(server.Logged("layout_updated"), ::testing::SizeIs(1));
  grpc::ClientContext again;
  request.mutable_layout()->mutable_segments(0)->set_shape(0, 16);
  const WireError error =
      ReadError(stub->UpdateLayout(&again, request, &session));
  EXPECT_EQ(error.reason, "INVALID_OPTION");
  EXPECT_EQ(error.field, "layout.segments[0].shape");
  EXPECT_EQ(error.value, "\"head\" (16)");
}

TEST(Server, SolvesAGramMatrix) {
  TestServer server;
  v1::SolveRequest request;
  request.mutable_gram()->set_rows(2);
  request.mutable_gram()->set_columns(2);
  for (const double value : {1., 0., 0., 1.}) {
    request.mutable_gram()->add_values(value);
  }
  v1::SolveResponse response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(v1::Concord::NewStub(server.Connect())
                    ->Solve(&context, request, &response)
                    .ok());
  }
  EXPECT_THAT(response.solution().coefficients(),
              testing::Pointwise(testing::DoubleNear(1e-12), {1., 1.}));
  request.mutable_gram()->mutable_values()->RemoveLast();
  grpc::ClientContext context;
  const WireError error = ReadError(v1::Concord::NewStub(server.Connect())
                                        ->Solve(&context, request, &response));
  EXPECT_EQ(error.reason, "INVALID_MATRIX");
  EXPECT_EQ(error.field, "gram.values");
  EXPECT_EQ(error.value, "3 numbers");
}

}  // namespace
}  // namespace concord
