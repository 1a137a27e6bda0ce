// How vectors travel makes no difference to what arrives.
#include <unistd.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace concord {
namespace {

struct Way {
  size_t parameters;
  size_t sent_chunk;
  size_t received_chunk;
  bool unix_socket;
};

class TransportTest : public ::testing::TestWithParam<Way> {};

TEST_P(TransportTest, EveryByteArrivesWhateverTheChunks) {
  const Way way = GetParam();
  const std::string socket =
      absl::StrCat("unix:", ::testing::TempDir(), "concord-client-", getpid());
  ScriptedServer server(way.parameters, socket);
  server.set_chunk_bytes(way.received_chunk);
  ClientOptions options;
  options.chunk_bytes = way.sent_chunk;
  auto client =
      Client::Connect(way.unix_socket ? socket : server.address(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  WorkerOptions worker;
  worker.session = "sessions/job";
  auto session = (*client)->OpenWorker(worker);
  ASSERT_TRUE(session.ok()) << session.status();

  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> vectors[3];
  std::vector<float> update(way.parameters);
  for (int step = 0; step < 2; ++step) {
    for (std::vector<float>& vector : vectors) {
      vector.resize(way.parameters);
      for (float& element : vector) element = normal(random);
    }
    const StepVector contributions[] = {
        {1, vectors[1].data()}, {0, vectors[0].data()}, {2, vectors[2].data()}};
    const auto outcome = (*session)->Step(contributions, {}, update.data());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->attempts, 1);
    std::vector<float> expected(way.parameters);
    for (size_t i = 0; i < way.parameters; ++i) {
      for (const StepVector& contribution : contributions) {
        expected[i] += static_cast<float>(contribution.index + 1) *
                       vectors[contribution.index][i];
      }
    }
    ASSERT_EQ(std::memcmp(update.data(), expected.data(),
                          way.parameters * sizeof(float)),
              0);
  }
  EXPECT_LE(server.largest_chunk(), way.sent_chunk);
}

constexpr size_t kLargest = (4 << 20) - (64 << 10);

INSTANTIATE_TEST_SUITE_P(
    Ways, TransportTest,
    ::testing::Values(Way{1, 1, 1, false}, Way{97, 1, 3, false},
                      Way{50'000, 1024, 1024, false},
                      Way{50'000, 4097, 999, true},
                      Way{300'000, 99'991, 99'991, false},
                      Way{1'100'000, 1 << 20, 1 << 20, true},
                      Way{1'100'000, kLargest, kLargest, false}));

// More than the server takes is cut down to that.
TEST(Transport, ChunksAreNeverLargerThanTheServerAllows) {
  ScriptedServer server(2'200'000);
  ClientOptions options;
  options.chunk_bytes = size_t{64} << 20;
  auto client = Client::Connect(server.address(), options);
  WorkerOptions worker;
  worker.session = "sessions/job";
  auto session = (*client)->OpenWorker(worker);
  ASSERT_TRUE(session.ok()) << session.status();
  const std::vector<float> vector(2'200'000, 1.f);
  std::vector<float> update(2'200'000);
  ASSERT_TRUE((*session)->Step({{0, vector.data()}}, {}, update.data()).ok());
  EXPECT_EQ(server.largest_chunk(), kLargest);
  EXPECT_EQ(update, vector);
}

}  // namespace
}  // namespace concord
