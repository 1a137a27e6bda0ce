// Sessions and stateless calls, against a service that plays its part.
#include "client/cpp/client.h"

#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "concord/v1/concord.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/wire/checksum.h"
#include "tests/client/scripted_server.h"

namespace concord {
namespace {

using grpc::StatusCode;

// Every call takes the next of the scripted errors, if there is one.
class FakeSessions final : public v1::Concord::Service {
 public:
  FakeSessions() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeSessions() override {
    server_->Shutdown(std::chrono::system_clock::now());
  }

  const std::string& address() const { return address_; }

  void Fail(std::vector<grpc::Status> errors) {
    absl::MutexLock lock(&mutex_);
    for (grpc::Status& error : errors) errors_.push_back(std::move(error));
  }
  int calls() const {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  grpc::Status Next() {
    absl::MutexLock lock(&mutex_);
    ++calls_;
    if (errors_.empty()) return grpc::Status::OK;
    grpc::Status status = errors_.front();
    errors_.pop_front();
    return status;
  }
  grpc::Status CreateSession(grpc::ServerContext*,
                             const v1::CreateSessionRequest* request,
                             v1::Session* session) override {
    session->set_name(absl::StrCat("sessions/", request->session_id()));
    session->set_uid("created");
    return Next();
  }
  grpc::Status GetSession(grpc::ServerContext*,
                          const v1::GetSessionRequest* request,
                          v1::Session* session) override {
    session->set_name(request->name());
    session->set_uid("found");
    return Next();
  }
  grpc::Status DeleteSession(grpc::ServerContext*,
                             const v1::DeleteSessionRequest*,
                             google::protobuf::Empty*) override {
    return Next();
  }
  grpc::Status ListSessions(grpc::ServerContext*,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override {
    const std::string& page = request->page_token();
    response->add_sessions()->set_name(absl::StrCat("sessions/of-page-", page));
    response->set_next_page_token(page.empty() ? "b" : page == "b" ? "c" : "");
    return Next();
  }
  grpc::Status Solve(grpc::ServerContext*, const v1::SolveRequest*,
                     v1::SolveResponse* response) override {
    response->mutable_solution()->set_rank(2);
    return Next();
  }
  grpc::Status Combine(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::CombineResponse, v1::CombineRequest>* stream)
      override {
    v1::CombineRequest request;
    if (!stream->Read(&request)) return grpc::Status::CANCELLED;
    const v1::CombineHeader header = request.header();
    std::string bytes;
    const size_t size = header.num_parameters() * sizeof(double);
    while (bytes.size() < size * header.num_vectors() &&
           stream->Read(&request)) {
      bytes += request.chunk().data();
    }
    const grpc::Status status = Next();
    if (!status.ok()) return status;
    // "Combined": the last vector.
    const std::string last = bytes.substr(size * (header.num_vectors() - 1));
    v1::CombineResponse response;
    response.mutable_result()->mutable_solution()->set_rank(1);
    stream->Write(response);
    response.mutable_chunk()->set_data(last);
    stream->Write(response);
    response.mutable_trailer()->set_checksum(wire::ChecksumOf(
        {reinterpret_cast<const std::byte*>(last.data()), last.size()}));
    stream->Write(response);
    return grpc::Status::OK;
  }

  mutable absl::Mutex mutex_;
  std::deque<grpc::Status> errors_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    ClientOptions options;
    options.retry.initial_backoff = absl::Milliseconds(1);
    options.retry.max_backoff = absl::Milliseconds(2);
    auto client = Client::Connect(server_.address(), options);
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    request_.set_session_id("job");
  }

  FakeSessions server_;
  std::unique_ptr<Client> client_;
  v1::CreateSessionRequest request_;
};

const grpc::Status kUnavailable(StatusCode::UNAVAILABLE, "starting");

TEST(Connect, MalformedAddressesAndOptionsAreRefused) {
  for (const char* server : {"", "localhost", "localhost:", ":70", "h:0",
                             "h:65536", "h:x", "unix:", "http://h:80"}) {
    EXPECT_EQ(GetErrorReason(Client::Connect(server).status()),
              "INVALID_OPTION")
        << server;
  }
  for (const char* server : {"h:1", "[::1]:65535", "unix:/s", "unix:s"}) {
    EXPECT_TRUE(Client::Connect(server).ok()) << server;
  }
  ClientOptions options;
  options.chunk_bytes = 0;
  EXPECT_FALSE(Client::Connect("h:1", options).ok());
  options = {};
  options.retry.max_backoff = absl::ZeroDuration();
  EXPECT_FALSE(Client::Connect("h:1", options).ok());
}

TEST(Connect, AServerThatIsNotThereIsReportedWithinTheTimeout) {
  auto client = Client::Connect("unix:/nonexistent/concord");
  CallOptions options;
  options.timeout = absl::Milliseconds(150);
  const auto info = (*client)->GetServerInfo(options);
  EXPECT_TRUE(absl::IsDeadlineExceeded(info.status())) << info.status();
  EXPECT_THAT(std::string(info.status().message()),
              ::testing::HasSubstr("UNAVAILABLE"));
}

TEST_F(ClientTest, UnavailableIsRetriedAndNothingElse) {
  server_.Fail({kUnavailable, kUnavailable});
  EXPECT_TRUE(client_->CreateSession(request_).ok());
  EXPECT_EQ(server_.calls(), 3);
  server_.Fail({ErrorStatus(StatusCode::RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED",
                            {{"limit", "max_sessions"}})});
  const auto refused = client_->CreateSession(request_);
  EXPECT_EQ(GetErrorReason(refused.status()), "LIMIT_EXCEEDED");
  EXPECT_EQ(server_.calls(), 4);
}

TEST_F(ClientTest, AttachOrCreateTakesAnEqualSession) {
  server_.Fail({ErrorStatus(StatusCode::ALREADY_EXISTS, "SESSION_EXISTS")});
  const auto session = client_->AttachOrCreate(request_);
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(session->uid(), "found");
  EXPECT_EQ(session->name(), "sessions/job");
}

TEST_F(ClientTest, AttachOrCreateNamesTheFieldThatDiffers) {
  server_.Fail({ErrorStatus(StatusCode::ALREADY_EXISTS, "SESSION_EXISTS",
                            {{"field", "session.num_vectors"}})});
  const auto session = client_->AttachOrCreate(request_);
  EXPECT_TRUE(absl::IsAlreadyExists(session.status()));
  EXPECT_EQ(GetErrorDetail(session.status())->field, "session.num_vectors");
  EXPECT_THAT(std::string(session.status().message()),
              ::testing::HasSubstr("session.num_vectors"));
}

TEST_F(ClientTest, AttachOrCreateCreatesWhatIsDeletedInBetween) {
  server_.Fail({ErrorStatus(StatusCode::ALREADY_EXISTS, "SESSION_EXISTS"),
                ErrorStatus(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND")});
  const auto session = client_->AttachOrCreate(request_);
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(session->uid(), "created");
}

TEST_F(ClientTest, ADeletionWhoseAnswerWasLostSucceeds) {
  const grpc::Status gone =
      ErrorStatus(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND");
  server_.Fail({kUnavailable, gone});
  EXPECT_TRUE(client_->DeleteSession("sessions/job").ok());
  server_.Fail({gone});
  EXPECT_TRUE(absl::IsNotFound(client_->DeleteSession("sessions/job")));
}

TEST_F(ClientTest, ListSessionsAsksForAllPages) {
  const auto sessions = client_->ListSessions();
  ASSERT_TRUE(sessions.ok()) << sessions.status();
  ASSERT_EQ(sessions->size(), 3);
  EXPECT_EQ((*sessions)[2].name(), "sessions/of-page-c");
}

TEST_F(ClientTest, SolveAsksTheServer) {
  const auto response = client_->Solve(v1::SolveRequest());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->solution().rank(), 2);
}

TEST_F(ClientTest, CombineSendsAllVectorsAndRetries) {
  server_.Fail({kUnavailable});
  const std::vector<double> vectors[] = {std::vector<double>(300'000, 1.5),
                                         std::vector<double>(300'000, 2.5)};
  std::vector<double> result(300'000);
  v1::CombineHeader header;
  header.set_num_vectors(2);
  header.set_num_parameters(300'000);
  header.set_data_type(v1::FLOAT64);
  const auto outcome = client_->Combine(
      header, {vectors[0].data(), vectors[1].data()}, result.data());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->attempts, 2);
  EXPECT_EQ(outcome->result.solution().rank(), 1);
  EXPECT_EQ(result, vectors[1]);

  EXPECT_TRUE(absl::IsInvalidArgument(
      client_->Combine(header, {vectors[0].data()}, result.data()).status()));
}

}  // namespace
}  // namespace concord
