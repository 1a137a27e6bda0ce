// Vectors that travel in 16 bits, from the C++ client to the real server and
// back: the caller's are float32.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/half_types.h"
#include "proto/options/element_type.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord {
namespace {

constexpr int kSteps = 3;

std::vector<float> Gradient(int step, int loss, size_t parameters) {
  std::mt19937 random(1000 * step + loss);
  std::normal_distribution<float> normal;
  std::vector<float> gradient(parameters);
  for (float& element : gradient) element = normal(random);
  return gradient;
}

std::vector<uint16_t> Halves(v1::DataType type,
                             const std::vector<float>& vector) {
  std::vector<uint16_t> halves(vector.size());
  Narrow(*ToHalfType(type), vector.data(), vector.size(), halves.data());
  return halves;
}

std::vector<float> Rounded(v1::DataType type,
                           const std::vector<float>& vector) {
  const std::vector<uint16_t> halves = Halves(type, vector);
  std::vector<float> rounded(vector.size());
  Widen(*ToHalfType(type), halves.data(), halves.size(), rounded.data());
  return rounded;
}

enum class Bring { kFloats, kRoundedFloats, kHalves };

class ClientWireTypes : public ::testing::TestWithParam<v1::DataType> {
 protected:
  ClientWireTypes() : log_([](const std::string&) {}) {
    Server::Options options;
    options.listen = {"127.0.0.1:0"};
    options.sessions.kernels = MakeCpuKernels(2);
    options.log = &log_;
    auto server = Server::Start(std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<WorkerSession> Open(const std::string& id, size_t parameters,
                                      v1::DataType type,
                                      size_t chunk_bytes = size_t{1} << 20) {
    ClientOptions options;
    options.chunk_bytes = chunk_bytes;
    auto client = Client::Connect(server_->addresses()[0], options);
    EXPECT_TRUE(client.ok()) << client.status();
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    request.mutable_session()->set_num_vectors(2);
    request.mutable_session()->set_num_parameters(parameters);
    request.mutable_session()->set_gradient_type(type);
    request.mutable_session()->set_update_type(type);
    const auto session = (*client)->AttachOrCreate(request);
    EXPECT_TRUE(session.ok()) << session.status();
    WorkerOptions worker;
    worker.session = session->name();
    auto opened = (*client)->OpenWorker(worker);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  // kSteps updates of a session of two losses.
  std::vector<std::vector<float>> Updates(WorkerSession* worker,
                                          size_t parameters, Bring bring) {
    const v1::DataType type = GetParam();
    std::vector<std::vector<float>> updates;
    for (int step = 1; step <= kSteps; ++step) {
      std::vector<float> floats[2];
      std::vector<uint16_t> halves[2];
      std::vector<StepVector> vectors;
      for (int loss = 0; loss < 2; ++loss) {
        floats[loss] = Gradient(step, loss, parameters);
        halves[loss] = Halves(type, floats[loss]);
        if (bring == Bring::kRoundedFloats) {
          floats[loss] = Rounded(type, floats[loss]);
        }
        vectors.push_back({loss, floats[loss].data()});
        if (bring == Bring::kHalves) {
          vectors.back().data = halves[loss].data();
          vectors.back().data_type = type;
        }
      }
      updates.emplace_back(parameters);
      const auto outcome = worker->Step(vectors, {}, updates.back().data());
      EXPECT_TRUE(outcome.ok()) << outcome.status();
      if (!outcome.ok()) break;
      EXPECT_EQ(outcome->attempts, 1);
    }
    return updates;
  }

  EventLog log_;
  std::unique_ptr<Server> server_;
};

INSTANTIATE_TEST_SUITE_P(Types, ClientWireTypes,
                         testing::Values(v1::BFLOAT16, v1::FLOAT16),
                         [](const auto& info) {
                           return v1::DataType_Name(info.param);
                         });

TEST_P(ClientWireTypes, GiveAFloat32SessionsUpdatesOfWidenedGradients) {
  // In one message each way, and in chunks.
  for (const size_t parameters : {size_t{1003}, size_t{300'001}}) {
    const auto wide =
        Open(absl::StrCat("wide-", parameters), parameters, v1::FLOAT32);
    std::vector<std::vector<float>> expected =
        Updates(wide.get(), parameters, Bring::kRoundedFloats);
    for (auto& update : expected) update = Rounded(GetParam(), update);
    int number = 0;
    for (const Bring bring : {Bring::kFloats, Bring::kHalves}) {
      for (const size_t chunk_bytes : {4097, 3'999'999}) {
        const auto worker = Open(absl::StrCat("s-", parameters, "-", number++),
                                 parameters, GetParam(), chunk_bytes);
        EXPECT_EQ(worker->joined().data_type(), v1::FLOAT32);
        EXPECT_EQ(Updates(worker.get(), parameters, bring), expected)
            << chunk_bytes;
      }
    }
  }
}

TEST_P(ClientWireTypes, MicroBatchesAreWidenedBeforeTheyAreSummed) {
  constexpr size_t kParameters = 70'001;
  const std::vector<float> parts[] = {Gradient(1, 0, kParameters),
                                      Gradient(1, 1, kParameters)};
  std::vector<std::vector<float>> updates;
  for (const v1::DataType type : {v1::FLOAT32, GetParam()}) {
    const auto worker =
        Open(type == v1::FLOAT32 ? "wide" : "half", kParameters, type);
    const std::vector<float> rounded[] = {Rounded(GetParam(), parts[0]),
                                          Rounded(GetParam(), parts[1])};
    ASSERT_TRUE(worker->Accumulate({{0, rounded[0].data()}}).ok());
    updates.emplace_back(kParameters);
    const auto outcome =
        worker->Step({{0, rounded[1].data()}, {1, rounded[0].data()}}, {},
                     updates.back().data());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
  }
  EXPECT_EQ(Rounded(GetParam(), updates[0]), updates[1]);
}

TEST_P(ClientWireTypes, AVectorInATypeThatDoesNotTravelIsRefusedByName) {
  constexpr size_t kParameters = 100;
  const v1::DataType other =
      GetParam() == v1::BFLOAT16 ? v1::FLOAT16 : v1::BFLOAT16;
  const auto worker = Open("s", kParameters, GetParam());
  const std::vector<float> gradient = Gradient(1, 0, kParameters);
  std::vector<float> update(kParameters);
  const StepVector vectors[] = {{0, gradient.data(), 1, other}};
  const auto detail =
      GetErrorDetail(worker->Step(vectors, {}, update.data()).status());
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->reason, "DATA_TYPE_MISMATCH");
  EXPECT_EQ(detail->field, "vectors[0].data_type");
  EXPECT_EQ(detail->value, v1::DataType_Name(other));
  EXPECT_EQ(detail->accepted,
            absl::StrCat("FLOAT32 or ", v1::DataType_Name(GetParam())));
  EXPECT_EQ(Updates(worker.get(), kParameters, Bring::kFloats),
            Updates(Open("again", kParameters, GetParam()).get(), kParameters,
                    Bring::kHalves));
}

}  // namespace
}  // namespace concord
