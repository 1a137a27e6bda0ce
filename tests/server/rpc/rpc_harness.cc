#include "tests/server/rpc/rpc_harness.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"

namespace concord {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "unexpected: " << what << std::endl;
  std::abort();
}

}  // namespace

Vector RandomVector(size_t n, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Vector vector(n);
  for (float& element : vector) element = normal(random);
  return vector;
}

std::string AsBytes(const Vector& vector) {
  return std::string(reinterpret_cast<const char*>(vector.data()),
                     vector.size() * sizeof(float));
}

WireError ReadError(const grpc::Status& status) {
  WireError error;
  error.code = static_cast<absl::StatusCode>(status.error_code());
  error.detail_bytes = status.error_details().size();
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return error;
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info)) {
      EXPECT_EQ(info.domain(), "concord");
      error.reason = info.reason();
      error.metadata.insert(info.metadata().begin(), info.metadata().end());
      error.value = error.metadata["value"];
    } else if (any.UnpackTo(&bad_request)) {
      error.field = bad_request.field_violations(0).field();
    } else if (any.UnpackTo(&retry)) {
      error.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                          absl::Nanoseconds(retry.retry_delay().nanos());
    }
  }
  return error;
}

TestServer::TestServer(const std::function<void(Server::Options*)>& change)
    : log_([this](const std::string& line) {
        absl::MutexLock lock(&mutex_);
        lines_.push_back(line);
      }) {
  Server::Options options;
  options.listen = {"127.0.0.1:0"};
  options.sessions.kernels = MakeCpuKernels(1);
  options.log = &log_;
  change(&options);
  auto server = Server::Start(std::move(options));
  if (!server.ok()) Die(server.status().ToString());
  server_ = *std::move(server);
}

std::shared_ptr<grpc::Channel> TestServer::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(
      server_->addresses()[0], grpc::InsecureChannelCredentials(), arguments);
}

std::vector<std::string> TestServer::Logged(const std::string& event) const {
  absl::MutexLock lock(&mutex_);
  return LoggedLocked(event);
}

std::vector<std::string> TestServer::LoggedLocked(
    const std::string& event) const {
  std::vector<std::string> lines;
  for (const std::string& line : lines_) {
    if (absl::StrContains(line, absl::StrCat("\"event\":\"", event, "\""))) {
      lines.push_back(line);
    }
  }
  return lines;
}

std::string TestServer::AwaitLogged(const std::string& event,
                                    size_t count) const {
  const auto is_there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return LoggedLocked(event).size() >= count;
  };
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(30))) {
    Die(absl::StrCat("no event ", event));
  }
  return LoggedLocked(event)[count - 1];
}

v1::Session TestServer::Create(const std::string& id, size_t n,
                               uint32_t workers, absl::Duration send_timeout,
                               absl::Duration round_timeout) {
  const auto set = [](absl::Duration from, google::protobuf::Duration* to) {
    to->set_seconds(absl::IDivDuration(from, absl::Seconds(1), &from));
    to->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(from)));
  };
  v1::Session session;
  session.set_num_vectors(2);
  session.set_num_parameters(n);
  session.set_num_workers(workers);
  set(send_timeout, session.mutable_send_timeout());
  set(round_timeout, session.mutable_round_timeout());
  return Create(id, session);
}

v1::Session TestServer::Create(const std::string& id,
                               const v1::Session& options) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  *request.mutable_session() = options;
  v1::Session created;
  grpc::ClientContext context;
  const grpc::Status status = v1::Concord::NewStub(Connect())->CreateSession(
      &context, request, &created);
  if (!status.ok()) Die(status.error_message());
  return created;
}

StreamClient::StreamClient(const TestServer& server)
    : StreamClient(server.Connect()) {}

StreamClient::StreamClient(std::shared_ptr<grpc::Channel> channel)
    : stub_(v1::Concord::NewStub(channel)), stream_(stub_->Step(&context_)) {}

StreamClient::~StreamClient() {
  context_.TryCancel();
  if (!finished_) Finish();
}

void StreamClient::SendJoin(const std::string& session, uint32_t rank,
                            uint64_t incarnation) {
  v1::StepRequest request;
  v1::Join* join = request.mutable_join();
  join->set_session(session);
  join->set_rank(rank);
  join->set_incarnation(incarnation);
  Send(request);
}

v1::Joined StreamClient::Join(const std::string& session, uint32_t rank,
                              uint64_t incarnation) {
  SendJoin(session, rank, incarnation);
  v1::StepResponse response;
  if (!ReadOne(&response) || !response.has_joined()) {
    Die(absl::StrCat("join: ", Finish().error_message()));
  }
  return response.joined();
}

v1::StepHeader StreamClient::Header(uint64_t step,
                                    const std::map<uint32_t, Vector>& vectors,
                                    uint32_t attempt) const {
  v1::StepHeader header;
  header.set_step(step);
  header.set_attempt(attempt);
  header.set_epoch(1);
  for (const auto& [index, vector] : vectors) {
    v1::VectorHeader* announced = header.add_vectors();
    announced->set_index(index);
    announced->set_data_type(v1::FLOAT32);
    announced->set_length(vector.size());
  }
  return header;
}

void StreamClient::SendHeader(const v1::StepHeader& header) {
  v1::StepRequest request;
  *request.mutable_header() = header;
  Send(request);
}

void StreamClient::SendChunk(uint32_t vector, uint64_t offset,
                             const std::string& data) {
  v1::StepRequest request;
  request.mutable_chunk()->set_vector(vector);
  request.mutable_chunk()->set_offset(offset);
  request.mutable_chunk()->set_data(data);
  Send(request);
}

void StreamClient::SendStep(uint64_t step,
                            const std::map<uint32_t, Vector>& vectors,
                            uint32_t attempt, size_t chunk_bytes) {
  SendHeader(Header(step, vectors, attempt));
  uint32_t position = 0;
  for (const auto& [index, vector] : vectors) {
    const std::string bytes = AsBytes(vector);
    for (size_t at = 0; at < bytes.size(); at += chunk_bytes) {
      SendChunk(position, at, bytes.substr(at, chunk_bytes));
    }
    ++position;
  }
}

void StreamClient::SendContribution(uint64_t step,
                                    const std::map<uint32_t, Vector>& vectors,
                                    uint32_t attempt) {
  v1::StepRequest request;
  v1::StepContribution* contribution = request.mutable_contribution();
  *contribution->mutable_header() = Header(step, vectors, attempt);
  for (const auto& [index, vector] : vectors) {
    contribution->mutable_data()->append(AsBytes(vector));
  }
  Send(request);
}

absl::StatusOr<Answer> StreamClient::ReadAnswer() {
  Answer answer;
  v1::StepResponse response;
  while (ReadOne(&response)) {
    switch (response.message_case()) {
      case v1::StepResponse::kResult:
        answer.result = response.result();
        break;
      case v1::StepResponse::kChunk:
        EXPECT_EQ(response.chunk().offset(), answer.update.size());
        answer.update += response.chunk().data();
        break;
      case v1::StepResponse::kTrailer:
        answer.trailer = response.trailer();
        return answer;
      case v1::StepResponse::kReply:
        answer.result = response.reply().result();
        answer.trailer = response.reply().trailer();
        answer.update = response.reply().data();
        return answer;
      default:
        return absl::InternalError(response.ShortDebugString());
    }
  }
  const grpc::Status status = Finish();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

grpc::Status StreamClient::Finish() {
  finished_ = true;
  v1::StepResponse rest;
  while (stream_->Read(&rest)) {
  }
  return stream_->Finish();
}

}  // namespace concord
