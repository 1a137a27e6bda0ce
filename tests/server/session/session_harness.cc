#include "tests/server/session/session_harness.h"

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/half_types.h"
#include "proto/options/element_type.h"
#include "proto/wire/checksum.h"

namespace concord {
namespace {

template <class T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << "unexpected: " << value.status() << std::endl;
    std::abort();
  }
  return *std::move(value);
}

}  // namespace

std::vector<std::byte> ToWire(v1::DataType type, const Vector& vector) {
  std::vector<std::byte> bytes(vector.size() * ElementBytes(type));
  const std::optional<HalfType> half = ToHalfType(type);
  if (half.has_value()) {
    Narrow(*half, vector.data(), vector.size(), bytes.data());
  } else {
    std::memcpy(bytes.data(), vector.data(), bytes.size());
  }
  return bytes;
}

Vector FromWire(v1::DataType type, absl::Span<const std::byte> bytes) {
  const std::optional<HalfType> half = ToHalfType(type);
  if (half.has_value()) {
    Vector vector(bytes.size() / kHalfBytes);
    Widen(*half, bytes.data(), vector.size(), vector.data());
    return vector;
  }
  // Of a float64 session, too: its bytes.
  Vector vector(bytes.size() / sizeof(float));
  std::memcpy(vector.data(), bytes.data(), bytes.size());
  return vector;
}

Vector RandomVector(size_t n, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Vector vector(n);
  for (float& element : vector) element = normal(random);
  return vector;
}

Vector Gradient(size_t n, uint64_t step, uint32_t index) {
  return RandomVector(n, static_cast<int>(step * 100 + index));
}

Vectors Gradients(size_t n, uint64_t step, std::vector<uint32_t> indexes) {
  Vectors vectors;
  for (const uint32_t index : indexes) {
    vectors[index] = Gradient(n, step, index);
  }
  return vectors;
}

absl::StatusOr<std::unique_ptr<Worker>> Worker::Join(SessionRegistry* registry,
                                                     const v1::Join& join) {
  auto worker = std::make_unique<Worker>();
  worker->cancelled_ = std::make_shared<absl::Notification>();
  absl::StatusOr<std::unique_ptr<RankStream>> stream =
      registry->Join(join, [cancelled = worker->cancelled_](
                               const absl::Status&) { cancelled->Notify(); });
  if (!stream.ok()) return stream.status();
  worker->stream_ = *std::move(stream);
  return worker;
}

v1::StepHeader Worker::Header(uint64_t step, const Vectors& vectors) const {
  v1::StepHeader header;
  header.set_step(step);
  header.set_attempt(1);
  header.set_epoch(stream_->joined().epoch());
  for (const auto& [index, vector] : vectors) {
    v1::VectorHeader* announced = header.add_vectors();
    announced->set_index(index);
    announced->set_data_type(stream_->joined().gradient_type());
    announced->set_length(vector.size());
  }
  return header;
}

absl::Status Worker::Send(const v1::StepHeader& header, const Vectors& vectors,
                          size_t chunk_bytes) {
  absl::Status status = stream_->Begin(header);
  if (!status.ok()) return status;
  uint32_t position = 0;
  for (const auto& [index, vector] : vectors) {
    const std::vector<std::byte> sent =
        ToWire(stream_->joined().gradient_type(), vector);
    const auto bytes = absl::MakeConstSpan(sent);
    for (size_t offset = 0; offset < bytes.size(); offset += chunk_bytes) {
      const absl::Span<const std::byte> data =
          bytes.subspan(offset, chunk_bytes);
      // In two pieces, as a network would cut it.
      const absl::Span<const std::byte> pieces[] = {
          data.first(data.size() / 2), data.subspan(data.size() / 2)};
      status = stream_->Append({position, offset, data.size()}, pieces);
      if (!status.ok()) return status;
    }
    ++position;
  }
  return absl::OkStatus();
}

absl::StatusOr<Answer> Worker::Collect(const StepReply& reply) {
  const auto never = [] { return false; };
  const Update& update = *reply.update;
  absl::Status status = update.Wait(update.size_bytes(), never);
  if (!status.ok()) return status;
  const absl::StatusOr<const v1::StepTrailer*> trailer =
      update.WaitForTrailer(never);
  if (!trailer.ok()) return trailer.status();
  Answer answer;
  answer.result = *reply.result;
  answer.trailer = reply.Trailer(**trailer);
  const auto bytes = absl::MakeConstSpan(update.data(), update.size_bytes());
  answer.update = FromWire(answer.result.update_type(), bytes);
  if (wire::ChecksumOf(bytes) != answer.trailer.checksum()) {
    return absl::DataLossError("the checksum does not fit");
  }
  return answer;
}

absl::StatusOr<Answer> Worker::Finish() {
  const absl::StatusOr<StepReply> reply = stream_->Finish([] { return false; });
  if (!reply.ok()) return reply.status();
  absl::StatusOr<Answer> answer = Collect(*reply);
  const absl::Status status = stream_->EndStep();
  if (!status.ok()) return status;
  return answer;
}

absl::StatusOr<Answer> Worker::Step(uint64_t step, const Vectors& vectors) {
  const absl::Status status = Send(Header(step, vectors), vectors);
  if (!status.ok()) return status;
  return Finish();
}

Waiting::Waiting(Worker* worker) : answer_(absl::UnknownError("not yet")) {
  thread_ = std::thread([this, worker] {
    const absl::StatusOr<StepReply> reply = worker->stream().Finish([this] {
      // Asked right before it sleeps, under the session's lock.
      if (!waits_.HasBeenNotified()) waits_.Notify();
      return cancelled_.load();
    });
    if (!waits_.HasBeenNotified()) waits_.Notify();
    answer_ = reply.ok() ? Worker::Collect(*reply) : reply.status();
    if (reply.ok()) {
      const absl::Status ended = worker->stream().EndStep();
      if (!ended.ok() && answer_.ok()) {
        EXPECT_EQ(Reason(ended), "DRAINING");
      }
    }
  });
  waits_.WaitForNotification();
}

Waiting::~Waiting() {
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<Answer> Waiting::Get() {
  thread_.join();
  return std::move(answer_);
}

Harness::Harness(Limits limits)
    : registry({.kernels = MakeCpuKernels(2),
                .limits = limits,
                .clock = &clock,
                .storage = nullptr,
                .on_checkpoint = nullptr,
                .on_commit = nullptr,
                .phase = nullptr}) {}

Harness::Harness(std::shared_ptr<Kernels> kernels)
    : registry({.kernels = std::move(kernels),
                .limits = {},
                .clock = &clock,
                .storage = nullptr,
                .on_checkpoint = nullptr,
                .on_commit = nullptr,
                .phase = nullptr}) {}

Harness::Harness(
    const StateDirectory* storage, PhaseHook phase,
    std::function<void(const std::string&, const absl::Status&)> on_checkpoint,
    std::shared_ptr<Kernels> kernels)
    : registry({.kernels = std::move(kernels),
                .limits = {.default_durability = v1::DURABILITY_STEP,
                           .has_state_directory = true,
                           .per_caller = {}},
                .clock = &clock,
                .storage = storage,
                .on_checkpoint = std::move(on_checkpoint),
                .on_commit = nullptr,
                .phase = std::move(phase)}) {}

v1::Session Harness::Options(size_t n, uint32_t workers) {
  v1::Session options;
  options.set_num_vectors(kLosses);
  options.set_num_parameters(n);
  options.set_num_workers(workers);
  options.mutable_round_timeout()->set_seconds(10);
  return options;
}

std::string Harness::Create(const std::string& id, const v1::Session& options) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  *request.mutable_session() = options;
  return OrDie(registry.Create(request)).name();
}

v1::Join Harness::JoinMessage(const std::string& name, uint32_t rank,
                              uint64_t incarnation) {
  v1::Join join;
  join.set_session(name);
  join.set_rank(rank);
  join.set_incarnation(incarnation);
  return join;
}

std::unique_ptr<Worker> Harness::Join(const std::string& name, uint32_t rank,
                                      uint64_t incarnation) {
  if (incarnation == 0) incarnation = 1000 + rank;
  return OrDie(Worker::Join(&registry, JoinMessage(name, rank, incarnation)));
}

std::vector<std::unique_ptr<Worker>> Harness::JoinAll(const std::string& name) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t rank = 0; rank < kLosses; ++rank) {
    workers.push_back(Join(name, rank));
  }
  return workers;
}

Answer Harness::StepAll(std::vector<std::unique_ptr<Worker>>* workers,
                        uint64_t step, std::vector<uint32_t> order) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  absl::StatusOr<Answer> last = absl::UnknownError("no rank");
  for (size_t i = 0; i < order.size(); ++i) {
    Worker* worker = (*workers)[order[i]].get();
    const size_t n = worker->stream().joined().num_parameters();
    const Vectors vectors = Gradients(n, step, {order[i]});
    const absl::Status sent =
        worker->Send(worker->Header(step, vectors), vectors);
    if (!sent.ok()) OrDie(absl::StatusOr<int>(sent));
    if (i + 1 < order.size()) {
      waiting.push_back(std::make_unique<Waiting>(worker));
    } else {
      last = worker->Finish();
    }
  }
  Answer answer = OrDie(std::move(last));
  for (const auto& other : waiting) {
    const Answer same = OrDie(other->Get());
    EXPECT_EQ(same.update, answer.update);
    EXPECT_EQ(same.result.SerializeAsString(),
              answer.result.SerializeAsString());
  }
  return answer;
}

std::string Reason(const absl::Status& status) {
  return GetErrorReason(status);
}

std::string Metadata(const absl::Status& status, const std::string& key) {
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return "(no detail)";
  for (const auto& [name, value] : detail->metadata) {
    if (name == key) return value;
  }
  return absl::StrCat("(no ", key, ")");
}

}  // namespace concord
