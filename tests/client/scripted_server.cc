#include "tests/client/scripted_server.h"

#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "proto/wire/checksum.h"

namespace concord {
namespace {

// Element by element, onto `bytes`; an empty sum is zero.
void Add(const std::string& sum, std::string* bytes) {
  for (size_t at = 0; at < sum.size(); at += sizeof(float)) {
    float a, b;
    std::memcpy(&a, sum.data() + at, sizeof(a));
    std::memcpy(&b, bytes->data() + at, sizeof(b));
    b += a;
    std::memcpy(bytes->data() + at, &b, sizeof(b));
  }
}

}  // namespace

Answer Answer::Refuse(grpc::Status status) {
  Answer answer;
  answer.result = answer.trailer = answer.commit = false;
  answer.update = 0;
  answer.end = std::move(status);
  return answer;
}

grpc::Status ErrorStatus(
    grpc::StatusCode code, absl::string_view reason,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_domain("concord");
  info.set_reason(std::string(reason));
  for (const auto& [key, value] : metadata) {
    (*info.mutable_metadata())[key] = value;
  }
  const std::string message = absl::StrCat(reason, ": scripted");
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  return grpc::Status(code, message, details.SerializeAsString());
}

ScriptedServer::ScriptedServer(size_t num_parameters, std::string socket)
    : num_parameters_(num_parameters) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  if (!socket.empty()) {
    builder.AddListeningPort(socket, grpc::InsecureServerCredentials());
  }
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

ScriptedServer::~ScriptedServer() {
  server_->Shutdown(std::chrono::system_clock::now());
}

void ScriptedServer::Say(std::vector<Answer> answers) {
  absl::MutexLock lock(&mutex_);
  for (Answer& answer : answers) script_.push_back(std::move(answer));
}

void ScriptedServer::RefuseJoins(std::vector<grpc::Status> statuses) {
  absl::MutexLock lock(&mutex_);
  for (grpc::Status& status : statuses) refused_joins_.push_back(status);
}

void ScriptedServer::set_committed_step(uint64_t step) {
  absl::MutexLock lock(&mutex_);
  committed_step_ = step;
}

std::vector<v1::Join> ScriptedServer::joins() const {
  absl::MutexLock lock(&mutex_);
  return joins_;
}

std::vector<v1::StepHeader> ScriptedServer::headers() const {
  absl::MutexLock lock(&mutex_);
  return headers_;
}

size_t ScriptedServer::chunks_received() const {
  absl::MutexLock lock(&mutex_);
  return chunks_received_;
}

int ScriptedServer::leaves() const {
  absl::MutexLock lock(&mutex_);
  return leaves_;
}

size_t ScriptedServer::largest_chunk() const {
  absl::MutexLock lock(&mutex_);
  return largest_chunk_;
}

grpc::Status ScriptedServer::Step(grpc::ServerContext*, Stream* stream) {
  v1::StepRequest request;
  if (!stream->Read(&request) || !request.has_join()) {
    return ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT,
                       "PROTOCOL_VIOLATION");
  }
  v1::StepResponse response;
  {
    absl::MutexLock lock(&mutex_);
    joins_.push_back(request.join());
    if (!refused_joins_.empty()) {
      grpc::Status status = refused_joins_.front();
      refused_joins_.pop_front();
      return status;
    }
    v1::Joined& joined = *response.mutable_joined();
    joined.set_uid("uid-1");
    joined.set_epoch(1);
    joined.set_committed_step(committed_step_);
    joined.set_data_type(v1::FLOAT32);
    joined.set_num_parameters(num_parameters_);
    joined.set_num_vectors(3);
    joined.set_max_chunk_bytes((4 << 20) - (64 << 10));
  }
  stream->Write(response);
  std::string micro_batches;  // Their sum so far.
  while (stream->Read(&request)) {
    if (request.has_leave()) {
      absl::MutexLock lock(&mutex_);
      ++leaves_;
      return grpc::Status::OK;
    }
    const v1::StepHeader header = request.has_contribution()
                                      ? request.contribution().header()
                                      : request.header();
    std::string bytes = request.contribution().data();
    Answer answer;
    {
      absl::MutexLock lock(&mutex_);
      headers_.push_back(header);
      if (!bytes.empty()) {
        ++chunks_received_;
        largest_chunk_ = std::max(largest_chunk_, bytes.size());
      }
      if (!script_.empty()) {
        answer = script_.front();
        script_.pop_front();
      }
    }
    if (!ReadVectors(stream, header, &bytes)) {
      return ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT, "CHUNK_MISPLACED");
    }
    if (header.has_accumulation()) {
      Add(micro_batches, &bytes);
      if (!header.accumulation().last()) {
        if (answer.end.has_value()) return *answer.end;
        micro_batches = bytes;
        continue;
      }
      micro_batches.clear();
    }
    if (answer.commit) Commit(header, bytes);
    if (!SendAnswer(stream, header, answer)) return grpc::Status::OK;
    if (answer.hang) {
      while (stream->Read(&request)) {
      }
      return grpc::Status::CANCELLED;
    }
    if (answer.end.has_value()) return *answer.end;
    if (!answer.trailer) return grpc::Status::OK;
  }
  return grpc::Status::OK;
}

bool ScriptedServer::ReadVectors(Stream* stream, const v1::StepHeader& header,
                                 std::string* bytes) {
  const size_t size = num_parameters_ * sizeof(float);
  v1::StepRequest request;
  while (bytes->size() < size * header.vectors_size()) {
    if (!stream->Read(&request)) return false;
    const v1::VectorChunk& chunk = request.chunk();
    if (chunk.data().empty() || chunk.vector() != bytes->size() / size ||
        chunk.offset() != bytes->size() % size ||
        chunk.offset() + chunk.data().size() > size) {
      return false;
    }
    bytes->append(chunk.data());
    absl::MutexLock lock(&mutex_);
    ++chunks_received_;
    largest_chunk_ = std::max(largest_chunk_, chunk.data().size());
  }
  return bytes->size() == size * header.vectors_size();
}

void ScriptedServer::Commit(const v1::StepHeader& header,
                            const std::string& bytes) {
  absl::MutexLock lock(&mutex_);
  if (header.step() <= committed_step_ && !update_.empty()) return;  // A retry.
  std::vector<float> sum(num_parameters_);
  std::vector<float> vector(num_parameters_);
  const size_t size = num_parameters_ * sizeof(float);
  for (int i = 0; i < header.vectors_size(); ++i) {
    std::memcpy(vector.data(), bytes.data() + i * size, size);
    const float weight = static_cast<float>(header.vectors(i).index() + 1);
    for (size_t k = 0; k < num_parameters_; ++k) sum[k] += weight * vector[k];
  }
  update_.assign(reinterpret_cast<const char*>(sum.data()), size);
  committed_step_ = header.step();
}

bool ScriptedServer::SendAnswer(Stream* stream, const v1::StepHeader& header,
                                const Answer& answer) {
  std::string update;
  {
    absl::MutexLock lock(&mutex_);
    update = update_;
  }
  v1::StepResult result;
  result.set_step(header.step());
  result.set_epoch(1);
  result.set_update_length(num_parameters_);
  result.set_update_type(v1::FLOAT32);
  result.set_repeated(header.attempt() > 1);
  v1::StepTrailer trailer;
  trailer.set_step(header.step());
  trailer.set_epoch(1);
  trailer.set_checksum(
      answer.checksum_error ^
      wire::ChecksumOf(
          {reinterpret_cast<const std::byte*>(update.data()), update.size()}));
  v1::StepResponse response;
  if (single_reply_ && answer.result && answer.trailer) {
    v1::StepReply& reply = *response.mutable_reply();
    *reply.mutable_result() = result;
    *reply.mutable_trailer() = trailer;
    reply.set_data(update);
    return stream->Write(response);
  }
  if (!answer.result) return true;
  *response.mutable_result() = result;
  if (!stream->Write(response)) return false;
  const auto sent = static_cast<size_t>(answer.update * update.size());
  for (size_t offset = 0; offset < sent; offset += chunk_bytes_) {
    v1::UpdateChunk& chunk = *response.mutable_chunk();
    chunk.set_offset(offset);
    chunk.set_data(
        update.substr(offset, std::min(chunk_bytes_, sent - offset)));
    if (!stream->Write(response)) return false;
  }
  if (!answer.trailer) return true;
  *response.mutable_trailer() = trailer;
  return stream->Write(response);
}

}  // namespace concord
