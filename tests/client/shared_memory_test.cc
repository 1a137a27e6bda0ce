// Vectors in memory that client and server share: the bits of a stream over
// gRPC, and nothing that a client writes there can harm the server.
#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "client/cpp/local_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/half_types.h"
#include "proto/local/memory_region.h"
#include "proto/wire/codec.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSharedBytes = 64 << 20;

std::vector<float> Gradient(int seed, size_t n) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> gradient(n);
  for (float& element : gradient) element = normal(random);
  return gradient;
}

class SharedMemory : public ::testing::Test {
 protected:
  SharedMemory() : log_([](const std::string&) {}) { Start("127.0.0.1:0"); }

  void Start(std::string address, uint64_t shared_bytes = kSharedBytes) {
    server_.reset();
    Server::Options options;
    options.listen = {std::move(address)};
    options.max_shared_memory_bytes = shared_bytes;
    options.sessions.kernels = MakeCpuKernels(1);
    options.log = &log_;
    auto server = Server::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<Client> Connect(bool shares, size_t chunk_bytes = 1 << 20) {
    ClientOptions options;
    options.shared_memory = shares;
    options.chunk_bytes = chunk_bytes;
    options.retry.initial_backoff = absl::Milliseconds(5);
    auto client = Client::Connect(server_->addresses()[0], options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  std::unique_ptr<WorkerSession> Open(
      Client* client, const std::string& id, size_t n,
      v1::DataType wire_type = v1::DATA_TYPE_UNSPECIFIED) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    request.mutable_session()->set_num_vectors(3);
    request.mutable_session()->set_num_parameters(n);
    request.mutable_session()->set_gradient_type(wire_type);
    request.mutable_session()->set_update_type(wire_type);
    const auto session = client->AttachOrCreate(request);
    EXPECT_TRUE(session.ok()) << session.status();
    WorkerOptions worker;
    worker.session = absl::StrCat("sessions/", id);
    auto opened = client->OpenWorker(worker);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  // Steps 1 ... 5 with one, two and three losses.
  static std::vector<std::vector<float>> Updates(WorkerSession* worker,
                                                 size_t n,
                                                 uint32_t first_attempts = 1) {
    std::vector<std::vector<float>> updates;
    for (int step = 0; step < 5; ++step) {
      std::vector<std::vector<float>> gradients;
      std::vector<StepVector> contributions;
      for (int loss = 0; loss <= step % 3; ++loss) {
        gradients.push_back(Gradient(10 * step + loss, n));
      }
      for (size_t loss = 0; loss < gradients.size(); ++loss) {
        contributions.push_back(
            {static_cast<int>(loss), gradients[loss].data()});
      }
      updates.emplace_back(n);
      const auto outcome =
          worker->Step(contributions, {}, updates.back().data());
      EXPECT_TRUE(outcome.ok()) << outcome.status();
      if (!outcome.ok()) break;
      EXPECT_EQ(outcome->attempts, step == 0 ? first_attempts : 1);
    }
    return updates;
  }

  uint64_t MappedBytes() {
    const auto info = Connect(/*shares=*/false)->GetServerInfo();
    EXPECT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->max_shared_memory_bytes(), kSharedBytes);
    return info->shared_memory_bytes();
  }

  // The server's side of a stream ends a moment after the client's.
  void ExpectAllUnmapped() {
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (MappedBytes() > 0 && absl::Now() < end) {
    }
    EXPECT_EQ(MappedBytes(), 0);
  }

  EventLog log_;
  std::unique_ptr<Server> server_;
};

TEST_F(SharedMemory, UpdatesAreTheBytesOfAStreamOverGrpc) {
  for (const size_t n : {1, 17, 10'000, 70'001, 700'003}) {
    for (const v1::DataType type : {v1::FLOAT32, v1::BFLOAT16, v1::FLOAT16}) {
      for (const size_t chunk : {4'097, 1 << 20}) {
        SCOPED_TRACE(absl::StrCat(n, " ", v1::DataType_Name(type), " ", chunk));
        const std::string id = absl::StrCat(n, "-", type, "-", chunk);
        auto sends = Connect(false, chunk);
        auto shares = Connect(true, chunk);
        auto sending = Open(sends.get(), "a" + id, n, type);
        auto sharing = Open(shares.get(), "b" + id, n, type);
        EXPECT_EQ(MappedBytes(), 0);
        const auto updates = Updates(sharing.get(), n);
        EXPECT_EQ(updates, Updates(sending.get(), n));
        const uint64_t bytes = n * (type == v1::FLOAT32 ? 4 : 2);
        EXPECT_GE(MappedBytes(), 4 * bytes);
        sharing.reset();
        ExpectAllUnmapped();
      }
    }
  }
}

TEST_F(SharedMemory, AWorkerWithoutRoomForItsMemorySendsItsVectors) {
  constexpr size_t kParameters = 6
                                 << 20;  // Update and one vector fit, not two.
  auto sends = Connect(false);
  auto shares = Connect(true);
  auto sending = Open(sends.get(), "sends", kParameters);
  auto sharing = Open(shares.get(), "shares", kParameters);
  EXPECT_EQ(Updates(sharing.get(), kParameters),
            Updates(sending.get(), kParameters));
  EXPECT_LE(MappedBytes(), kSharedBytes);
  EXPECT_GT(MappedBytes(), 0);
}

TEST_F(SharedMemory, AnUpdateIsWrittenWhereItsCallerKeepsIt) {
  constexpr size_t kParameters = 70'001;
  auto sends = Connect(false);
  auto shares = Connect(true);
  auto sending = Open(sends.get(), "sends", kParameters);
  auto sharing = Open(shares.get(), "shares", kParameters);
  EXPECT_EQ(sending->TakeUpdate(), nullptr);
  const auto expected = Updates(sending.get(), kParameters);
  std::vector<std::shared_ptr<void>> kept;
  for (int step = 0; step < 5; ++step) {
    kept.push_back(sharing->TakeUpdate());
    // Three at a time: the first is let go for the fourth.
    EXPECT_EQ(sharing->TakeUpdate() == nullptr, step >= 2);
    std::vector<std::vector<float>> gradients;
    std::vector<StepVector> contributions;
    for (int loss = 0; loss <= step % 3; ++loss) {
      gradients.push_back(Gradient(10 * step + loss, kParameters));
    }
    for (size_t loss = 0; loss < gradients.size(); ++loss) {
      contributions.push_back({static_cast<int>(loss), gradients[loss].data()});
    }
    ASSERT_NE(kept.back(), nullptr);
    const auto outcome = sharing->Step(contributions, {}, kept.back().get());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    for (int held = std::max(0, step - 2); held <= step; ++held) {
      const auto* update = static_cast<const float*>(kept[held].get());
      EXPECT_TRUE(
          std::equal(expected[held].begin(), expected[held].end(), update))
          << held;
    }
    if (step >= 2) kept[step - 2].reset();
  }
  // Three results and three vectors; no place besides.
  EXPECT_LE(MappedBytes(), 6 * (kParameters * sizeof(float) + 4096));
  sharing.reset();
  const auto* last = static_cast<const float*>(kept.back().get());
  EXPECT_TRUE(std::equal(expected.back().begin(), expected.back().end(), last));
}

TEST_F(SharedMemory, AGradientIsReadWhereItsCallerKeepsIt) {
  // One piece, and more than the server takes in one.
  for (const size_t n : {10'000, 1'300'003}) {
    for (const v1::DataType type : {v1::FLOAT32, v1::BFLOAT16}) {
      SCOPED_TRACE(absl::StrCat(n, " ", v1::DataType_Name(type)));
      const std::string id = absl::StrCat(n, "-", type);
      auto sends = Connect(false);
      auto shares = Connect(true);
      auto sending = Open(sends.get(), "a" + id, n, type);
      auto sharing = Open(shares.get(), "b" + id, n, type);
      EXPECT_EQ(sending->TakeGradient(), nullptr);
      const size_t element = type == v1::FLOAT32 ? 4 : 2;
      std::shared_ptr<void> lent[] = {sharing->TakeGradient(),
                                      sharing->TakeGradient()};
      const uint64_t mapped_before = MappedBytes();
      for (int step = 0; step < 4; ++step) {
        std::vector<std::vector<float>> gradients;
        for (int loss = 0; loss < 3; ++loss) {
          gradients.push_back(Gradient(10 * step + loss, n));
        }
        std::vector<StepVector> given;
        std::vector<StepVector> kept;
        for (int loss = 0; loss < 3; ++loss) {
          given.push_back({loss, gradients[loss].data()});
          // The last one lies elsewhere: in the same step it is copied.
          if (loss == 2 && step % 2 == 0) continue;
          kept.push_back(given.back());
          if (loss == 2) continue;
          if (type == v1::FLOAT32) {
            std::copy(gradients[loss].begin(), gradients[loss].end(),
                      static_cast<float*>(lent[loss].get()));
          } else {
            Narrow(HalfType::kBfloat16, gradients[loss].data(), n,
                   lent[loss].get());
          }
          kept.back().data = lent[loss].get();
          kept.back().data_type = type;
        }
        given.resize(kept.size());
        std::vector<float> expected(n);
        std::vector<float> update(n);
        ASSERT_TRUE(sending->Step(given, {}, expected.data()).ok());
        const auto outcome = sharing->Step(kept, {}, update.data());
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        EXPECT_EQ(outcome->attempts, 1);
        EXPECT_EQ(update, expected) << step;
        // Both gradients, the update's place, and one for the loss that is
        // elsewhere.
        const uint64_t places = step == 0 ? 3 : 4;
        EXPECT_GE(MappedBytes() - mapped_before, places * n * element);
        EXPECT_LE(MappedBytes() - mapped_before, places * (n * element + 4096));
      }
      sharing.reset();
      ExpectAllUnmapped();
    }
  }
}

TEST_F(SharedMemory, AGradientIsItsCallersAloneAfterAStepThatFailed) {
  constexpr size_t kParameters = 9'001;
  auto sends = Connect(false);
  auto shares = Connect(true);
  auto sending = Open(sends.get(), "sends", kParameters);
  auto sharing = Open(shares.get(), "shares", kParameters);
  auto lent = sharing->TakeGradient();
  auto* const elements = static_cast<float*>(lent.get());
  const auto gradient = Gradient(1, kParameters);
  std::copy(gradient.begin(), gradient.end(), elements);
  elements[7'777] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> update(kParameters);
  EXPECT_EQ(GetErrorReason(
                sharing->Step({{1, elements}}, {}, update.data()).status()),
            "NON_FINITE");
  EXPECT_EQ(elements[7'776], gradient[7'776]);
  elements[7'777] = gradient[7'777];
  for (const auto* const again : {elements, elements}) {
    std::vector<float> expected(kParameters);
    ASSERT_TRUE(
        sending->Step({{1, gradient.data()}}, {}, expected.data()).ok());
    const auto outcome = sharing->Step({{1, again}}, {}, update.data());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(update, expected);
  }
}

TEST_F(SharedMemory, MicroBatchesAndStepsMakeOneSum) {
  constexpr size_t kParameters = 5'003;
  std::vector<std::vector<float>> updates;
  for (const bool shares : {false, true}) {
    auto client = Connect(shares);
    auto worker = Open(client.get(), absl::StrCat("job-", shares), kParameters);
    for (int step = 0; step < 3; ++step) {
      const auto first = Gradient(2 * step, kParameters);
      const auto second = Gradient(2 * step + 1, kParameters);
      ASSERT_TRUE(worker->Accumulate({{step, first.data()}}).ok());
      updates.emplace_back(kParameters);
      const auto outcome =
          worker->Step({{step, second.data()}}, {}, updates.back().data());
      ASSERT_TRUE(outcome.ok()) << outcome.status();
    }
  }
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(updates[step], updates[3 + step]) << step;
  }
}

TEST_F(SharedMemory, ARefusedStepChangesNothing) {
  constexpr size_t kParameters = 9'001;
  auto sends = Connect(false);
  auto shares = Connect(true);
  auto sending = Open(sends.get(), "sends", kParameters);
  auto sharing = Open(shares.get(), "shares", kParameters);
  auto broken = Gradient(1, kParameters);
  broken[7'777] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> update(kParameters, 3);
  const auto outcome = sharing->Step({{1, broken.data()}}, {}, update.data());
  EXPECT_EQ(GetErrorReason(outcome.status()), "NON_FINITE");
  EXPECT_EQ(update, std::vector<float>(kParameters, 3));
  EXPECT_EQ(Updates(sharing.get(), kParameters, /*first_attempts=*/2),
            Updates(sending.get(), kParameters));
}

TEST_F(SharedMemory, AServerThatComesBackFindsItsWorkerInSharedMemory) {
  constexpr size_t kParameters = 1'000;
  auto client = Connect(true);
  auto worker = Open(client.get(), "job", kParameters);
  EXPECT_EQ(Updates(worker.get(), kParameters).size(), 5);
  Start(server_->addresses()[0]);
  // Its session is gone with the first server.
  const auto gradient = Gradient(1, kParameters);
  std::vector<float> update(kParameters);
  const auto outcome = worker->Step({{0, gradient.data()}}, {}, update.data());
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kNotFound)
      << outcome.status();
  auto again = Open(client.get(), "job", kParameters);
  EXPECT_EQ(Updates(again.get(), kParameters).size(), 5);
  EXPECT_GT(MappedBytes(), 0);
}

TEST_F(SharedMemory, AServerWithoutItIsServedOverGrpc) {
  Start("127.0.0.1:0", /*shared_bytes=*/0);
  constexpr size_t kParameters = 1'000;
  auto client = Connect(true);
  auto worker = Open(client.get(), "job", kParameters);
  EXPECT_EQ(worker->joined().local_socket(), "");
  EXPECT_EQ(Updates(worker.get(), kParameters).size(), 5);
}

// ---- What no client of ours says --------------------------------------------

class ForgedMessages : public SharedMemory {
 protected:
  static constexpr size_t kParameters = 1'000;

  // A stream on the local socket that has joined, and memory passed on it.
  void Join() {
    auto client = Connect(true);
    if (name_.empty()) {
      v1::CreateSessionRequest request;
      request.set_session_id("job");
      request.mutable_session()->set_num_vectors(2);
      request.mutable_session()->set_num_parameters(kParameters);
      ASSERT_TRUE(client->CreateSession(request).ok());
      // Whoever joins over gRPC is told the name.
      auto options = ClientOptions();
      options.shared_memory = false;
      auto sends = Client::Connect(server_->addresses()[0], options);
      ASSERT_TRUE(sends.ok());
      WorkerOptions worker;
      worker.session = "sessions/job";
      auto opened = (*sends)->OpenWorker(worker);
      ASSERT_TRUE(opened.ok()) << opened.status();
      name_ = (*opened)->joined().local_socket();
    }
    auto stream = LocalStream::Connect(name_);
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = *std::move(stream);
    v1::StepRequest request;
    request.mutable_join()->set_session("sessions/job");
    request.mutable_join()->set_incarnation(++incarnation_);
    ASSERT_TRUE(stream_->Write(wire::Encode(request), limit_));
    const v1::StepResponse response = Read();
    ASSERT_TRUE(response.has_joined()) << response.ShortDebugString();
    epoch_ = response.joined().epoch();
    auto region = local::MemoryRegion::Create(kBytes);
    ASSERT_TRUE(region.ok()) << region.status();
    region_ = std::make_unique<local::MemoryRegion>(*std::move(region));
    ASSERT_EQ(stream_->Pass(*region_, limit_), 1);
    const auto gradient = Gradient(1, kParameters);
    std::copy(gradient.begin(), gradient.end(),
              reinterpret_cast<float*>(region_->bytes().data()));
  }

  v1::StepResponse Read() {
    grpc::ByteBuffer buffer;
    v1::StepResponse response;
    wire::Payload data;
    if (stream_->Read(&buffer, limit_)) {
      EXPECT_TRUE(wire::Decode(buffer, &response, &data));
    }
    return response;
  }

  // A good contribution: the vector at 0, the update behind it.
  v1::StepRequest Request() const {
    v1::StepRequest request;
    v1::StepContribution& contribution = *request.mutable_contribution();
    contribution.set_is_shared(true);
    v1::StepHeader& header = *contribution.mutable_header();
    header.set_step(1);
    header.set_attempt(1);
    header.set_epoch(epoch_);
    header.mutable_update_place()->set_region(1);
    header.mutable_update_place()->set_offset(kUpdateOffset);
    v1::VectorHeader& vector = *header.add_vectors();
    vector.set_data_type(v1::FLOAT32);
    vector.set_length(kParameters);
    vector.mutable_place()->set_region(1);
    return request;
  }

  // The request ends the stream with that error.
  void ExpectRefused(const v1::StepRequest& request, const std::string& reason,
                     const std::string& field) {
    SCOPED_TRACE(field);
    ASSERT_TRUE(stream_->Write(wire::Encode(request), limit_));
    EXPECT_EQ(Read().message_case(), v1::StepResponse::MESSAGE_NOT_SET);
    const absl::Status status = stream_->Close(limit_);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(GetErrorReason(status), reason) << status;
    EXPECT_THAT(status.message(), HasSubstr(field));
    Join();
  }

  static constexpr size_t kBytes = 64 << 10;
  static constexpr size_t kUpdateOffset = 32 << 10;
  const std::function<bool()> never_;  // The limit refers to it.
  const Limit limit_{absl::Seconds(20), never_};
  std::string name_;
  uint64_t incarnation_ = 0;
  uint64_t epoch_ = 0;
  std::unique_ptr<LocalStream> stream_;
  std::unique_ptr<local::MemoryRegion> region_;
};

TEST_F(ForgedMessages, PlacesOutsideTheClientsMemoryAreRefused) {
  ASSERT_NO_FATAL_FAILURE(Join());
  for (const uint32_t region : {0u, 2u, ~0u}) {
    v1::StepRequest request = Request();
    v1::StepHeader& header = *request.mutable_contribution()->mutable_header();
    header.mutable_vectors(0)->mutable_place()->set_region(region);
    ExpectRefused(request, "INVALID_OPTION", "header.vectors[0].place.region");
    request = Request();
    request.mutable_contribution()
        ->mutable_header()
        ->mutable_update_place()
        ->set_region(region);
    ExpectRefused(request, "INVALID_OPTION", "header.update_place.region");
  }
  for (const uint64_t offset :
       {uint64_t{4}, uint64_t{kBytes} - 64, uint64_t{kBytes}, uint64_t{1} << 40,
        ~uint64_t{0} - 63}) {
    v1::StepRequest request = Request();
    v1::StepHeader& header = *request.mutable_contribution()->mutable_header();
    header.mutable_vectors(0)->mutable_place()->set_offset(offset);
    ExpectRefused(request, "INVALID_OPTION", "header.vectors[0].place.offset");
    request = Request();
    request.mutable_contribution()
        ->mutable_header()
        ->mutable_update_place()
        ->set_offset(offset);
    ExpectRefused(request, "INVALID_OPTION", "header.update_place.offset");
  }
  v1::StepRequest request = Request();
  request.mutable_contribution()
      ->mutable_header()
      ->mutable_update_place()
      ->set_offset(64);
  ExpectRefused(request, "INVALID_OPTION", "header.vectors[0].place");
}

TEST_F(ForgedMessages, SharedBytesWithoutAPlaceAreRefused) {
  ASSERT_NO_FATAL_FAILURE(Join());
  v1::StepRequest request = Request();
  request.mutable_contribution()
      ->mutable_header()
      ->mutable_vectors(0)
      ->clear_place();
  ExpectRefused(request, "PROTOCOL_VIOLATION", "header.vectors[0].place");

  for (const auto& [offset, size] :
       {std::pair{uint64_t{0}, 4 * uint64_t{kParameters} + 1},
        {uint64_t{4}, 4 * uint64_t{kParameters}},
        {~uint64_t{0}, uint64_t{1}},
        {uint64_t{4}, ~uint64_t{0}}}) {
    v1::StepRequest header;
    *header.mutable_header() = Request().contribution().header();
    ASSERT_TRUE(stream_->Write(wire::Encode(header), limit_));
    v1::StepRequest chunk;
    chunk.mutable_chunk()->set_offset(offset);
    chunk.mutable_chunk()->set_shared_bytes(size);
    ExpectRefused(chunk, "PROTOCOL_VIOLATION", "chunk.shared_bytes");
  }
}

TEST_F(ForgedMessages, AfterAllOfThemAStepIsRight) {
  ASSERT_NO_FATAL_FAILURE(Join());
  v1::StepRequest request = Request();
  request.mutable_contribution()
      ->mutable_header()
      ->mutable_vectors(0)
      ->mutable_place()
      ->set_region(9);
  ExpectRefused(request, "INVALID_OPTION", "header.vectors[0].place.region");

  request = Request();
  request.mutable_contribution()->mutable_header()->add_vectors()->CopyFrom(
      request.contribution().header().vectors(0));
  request.mutable_contribution()
      ->mutable_header()
      ->mutable_vectors(1)
      ->set_index(1);  // Both vectors may lie in one place.
  ASSERT_TRUE(stream_->Write(wire::Encode(request), limit_));
  const v1::StepResponse response = Read();
  ASSERT_TRUE(response.has_reply()) << stream_->Close(limit_);
  EXPECT_TRUE(response.reply().is_shared());
  v1::CreateSessionRequest other;
  other.set_session_id("other");
  other.mutable_session()->set_num_vectors(2);
  other.mutable_session()->set_num_parameters(kParameters);
  auto sends = Connect(false);
  ASSERT_TRUE(sends->CreateSession(other).ok());
  WorkerOptions worker;
  worker.session = "sessions/other";
  const auto sending = sends->OpenWorker(worker);
  ASSERT_TRUE(sending.ok()) << sending.status();
  const auto gradient = Gradient(1, kParameters);
  std::vector<float> expected(kParameters);
  ASSERT_TRUE((*sending)
                  ->Step({{0, gradient.data()}, {1, gradient.data()}}, {},
                         expected.data())
                  .ok());
  const auto* const update =
      reinterpret_cast<const float*>(region_->bytes().data() + kUpdateOffset);
  EXPECT_EQ(std::vector<float>(update, update + kParameters), expected);
}

}  // namespace
}  // namespace concord
