// A session's state out of a server and into one, over the wire.
#include <string>

#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

// Far more than what gRPC and the kernel buffer.
constexpr size_t kLong = 3'000'000;
constexpr size_t kShort = 1000;

std::map<uint32_t, Vector> VectorsOf(size_t n, int seed) {
  return {{0, RandomVector(n, seed)}, {1, RandomVector(n, seed + 1)}};
}

absl::StatusOr<Answer> StepOf(StreamClient* client, uint64_t step, size_t n) {
  client->SendStep(step, VectorsOf(n, static_cast<int>(10 * step)));
  return client->ReadAnswer();
}

std::string Export(v1::Concord::Stub* stub, const std::string& name) {
  grpc::ClientContext context;
  v1::ExportSessionRequest request;
  request.set_name(name);
  const auto stream = stub->ExportSession(&context, request);
  std::string file;
  for (v1::StateChunk chunk; stream->Read(&chunk);) file += chunk.data();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return file;
}

grpc::Status Import(v1::Concord::Stub* stub, const std::string& name,
                    const std::string& file, v1::Session* session) {
  grpc::ClientContext context;
  const auto stream = stub->ImportSession(&context, session);
  v1::ImportSessionRequest request;
  request.mutable_target()->set_name(name);
  stream->Write(request);
  constexpr size_t kPiece = 1 << 20;
  for (size_t at = 0; at < file.size(); at += kPiece) {
    request.mutable_chunk()->set_data(file.substr(at, kPiece));
    stream->Write(request);
  }
  stream->WritesDone();
  return stream->Finish();
}

TEST(StateStreams, BringAStateFromOneServerToAnother) {
  TestServer source, target;
  source.Create("s", kShort);
  target.Create("s", kShort);
  StreamClient client(source);
  client.Join("sessions/s");
  for (uint64_t step = 1; step <= 3; ++step) {
    ASSERT_TRUE(StepOf(&client, step, kShort).ok());
  }
  const auto from = v1::Concord::NewStub(source.Connect());
  const auto to = v1::Concord::NewStub(target.Connect());
  v1::Session imported;
  const grpc::Status status = Import(
      to.get(), "sessions/s", Export(from.get(), "sessions/s"), &imported);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(imported.committed_step(), 3u);
  EXPECT_EQ(imported.epoch(), 2u);
  StreamClient other(target);
  v1::StepRequest join;
  join.mutable_join()->set_session("sessions/s");
  join.mutable_join()->set_incarnation(9);
  join.mutable_join()->set_resume_step(3);
  other.Send(join);
  v1::StepResponse joined;
  ASSERT_TRUE(other.ReadOne(&joined));
  const absl::StatusOr<Answer> here = StepOf(&client, 4, kShort);
  const std::map<uint32_t, Vector> vectors = VectorsOf(kShort, 40);
  v1::StepHeader header = other.Header(4, vectors);
  header.set_epoch(imported.epoch());
  other.SendHeader(header);
  for (const auto& [index, vector] : vectors) {
    other.SendChunk(index, 0,
                    {reinterpret_cast<const char*>(vector.data()),
                     vector.size() * sizeof(float)});
  }
  const absl::StatusOr<Answer> there = other.ReadAnswer();
  ASSERT_TRUE(here.ok() && there.ok()) << here.status() << there.status();
  EXPECT_EQ(here->update, there->update);
}

TEST(StateStreams, AnExportThatIsNotReadIsCancelledAndTheSessionGoesOn) {
  TestServer server;
  server.Create("s", kLong, /*workers=*/1, /*send_timeout=*/absl::Seconds(1));
  StreamClient client(server);
  client.Join("sessions/s");
  ASSERT_TRUE(StepOf(&client, 1, kLong).ok());
  const auto stub = v1::Concord::NewStub(server.Connect());
  grpc::ClientContext context;
  v1::ExportSessionRequest request;
  request.set_name("sessions/s");
  const auto stream = stub->ExportSession(&context, request);
  v1::StateChunk chunk;
  ASSERT_TRUE(stream->Read(&chunk));  // And no more.
  EXPECT_THAT(server.AwaitLogged("export_failed"),
              testing::HasSubstr("SEND_TIMEOUT"));
  EXPECT_TRUE(StepOf(&client, 2, kLong).ok());
  while (stream->Read(&chunk)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(StateStreams, CountAmongTheServersStreams) {
  TestServer server([](Server::Options* options) {
    options->sessions.limits.max_streams = 1;
  });
  server.Create("s", kShort);
  StreamClient client(server);
  client.Join("sessions/s");
  const auto stub = v1::Concord::NewStub(server.Connect());
  grpc::ClientContext context;
  v1::ExportSessionRequest request;
  request.set_name("sessions/s");
  const auto stream = stub->ExportSession(&context, request);
  v1::StateChunk chunk;
  EXPECT_FALSE(stream->Read(&chunk));
  EXPECT_EQ(ReadError(stream->Finish()).reason, "LIMIT_EXCEEDED");
}

TEST(StateStreams, AnImportThatBeginsOrGoesOnWronglyChangesNothing) {
  TestServer server;
  server.Create("s", kShort);
  StreamClient client(server);
  client.Join("sessions/s");
  ASSERT_TRUE(StepOf(&client, 1, kShort).ok());
  const auto stub = v1::Concord::NewStub(server.Connect());
  v1::Session session;
  {
    grpc::ClientContext context;
    const auto stream = stub->ImportSession(&context, &session);
    stream->WritesDone();
    const WireError error = ReadError(stream->Finish());
    EXPECT_EQ(error.reason, "PROTOCOL_VIOLATION");
    EXPECT_EQ(error.value, "end of the stream");
  }
  {
    grpc::ClientContext context;
    const auto stream = stub->ImportSession(&context, &session);
    v1::ImportSessionRequest request;
    request.mutable_chunk()->set_data("x");
    stream->Write(request);
    EXPECT_EQ(ReadError(stream->Finish()).reason, "PROTOCOL_VIOLATION");
  }
  EXPECT_EQ(ReadError(Import(stub.get(), "sessions/s",
                             std::string(65 << 20, 'x'), &session))
                .reason,
            "CHUNK_TOO_LARGE");
  EXPECT_EQ(
      ReadError(Import(stub.get(), "sessions/none", "x", &session)).reason,
      "SESSION_NOT_FOUND");
  // The undisturbed next step: what a twin gives.
  TestServer twin;
  twin.Create("s", kShort);
  StreamClient other(twin);
  other.Join("sessions/s");
  ASSERT_TRUE(StepOf(&other, 1, kShort).ok());
  const absl::StatusOr<Answer> here = StepOf(&client, 2, kShort);
  const absl::StatusOr<Answer> there = StepOf(&other, 2, kShort);
  ASSERT_TRUE(here.ok() && there.ok()) << here.status() << there.status();
  EXPECT_EQ(here->update, there->update);
}

}  // namespace
}  // namespace concord
