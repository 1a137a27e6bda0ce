// The client and the real server, in one process, over TCP and Unix sockets.
#include <unistd.h>

#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

namespace concord {
namespace {

constexpr int kSteps = 4;

class EndToEnd : public ::testing::Test {
 protected:
  EndToEnd() : log_([](const std::string&) {}) {
    Server::Options options;
    socket_ =
        absl::StrCat("unix:", ::testing::TempDir(), "concord-e2e-", getpid());
    options.listen = {"127.0.0.1:0", socket_};
    options.sessions.kernels = MakeCpuKernels(2);
    options.log = &log_;
    auto server = Server::Start(std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<Client> Connect(bool unix_socket = false,
                                  size_t chunk_bytes = size_t{1} << 20) const {
    ClientOptions options;
    options.chunk_bytes = chunk_bytes;
    options.retry.initial_backoff = absl::Milliseconds(5);
    auto client = Client::Connect(
        unix_socket ? socket_ : server_->addresses()[0], options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  static v1::CreateSessionRequest Request(const std::string& id, int vectors,
                                          size_t parameters, int workers = 1) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    request.mutable_session()->set_num_vectors(vectors);
    request.mutable_session()->set_num_parameters(parameters);
    request.mutable_session()->set_num_workers(workers);
    request.mutable_session()
        ->mutable_options()
        ->mutable_loss_recorder()
        ->mutable_latest();
    return request;
  }

  static absl::StatusOr<std::unique_ptr<WorkerSession>> Open(
      Client* client, const std::string& id, int rank = 0) {
    WorkerOptions options;
    options.session = absl::StrCat("sessions/", id);
    options.rank = rank;
    return client->OpenWorker(options);
  }

  // The gradient of a loss in a step, the same in every test.
  static std::vector<float> Gradient(int step, int loss, size_t parameters) {
    std::mt19937 random(1000 * step + loss);
    std::normal_distribution<float> normal;
    std::vector<float> gradient(parameters);
    for (float& element : gradient) element = normal(random);
    return gradient;
  }

  // kSteps updates of a session of three losses, one worker.
  std::vector<std::vector<float>> Updates(Client* client, const std::string& id,
                                          size_t parameters) const {
    std::vector<std::vector<float>> updates;
    const auto session = client->AttachOrCreate(Request(id, 3, parameters));
    EXPECT_TRUE(session.ok()) << session.status();
    auto worker = Open(client, id);
    EXPECT_TRUE(worker.ok()) << worker.status();
    for (int step = 1; worker.ok() && step <= kSteps; ++step) {
      updates.push_back(std::vector<float>(parameters));
      const std::vector<float> gradients[] = {Gradient(step, 0, parameters),
                                              Gradient(step, 1, parameters),
                                              Gradient(step, 2, parameters)};
      const auto outcome =
          (*worker)->Step({{0, gradients[0].data()},
                           {1, gradients[1].data()},
                           {2, gradients[2].data()}},
                          {{0, 1.0 / step}}, updates.back().data());
      EXPECT_TRUE(outcome.ok()) << outcome.status();
      if (!outcome.ok()) break;
      EXPECT_EQ(outcome->attempts, 1);
      EXPECT_TRUE(outcome->result.solution().conflict_free());
      EXPECT_EQ(outcome->result.losses(0), 1.0 / step);
    }
    return updates;
  }

  EventLog log_;
  std::string socket_;
  std::unique_ptr<Server> server_;
};

TEST_F(EndToEnd, UpdatesAreTheSameBytesOverEveryTransportAndChunkSize) {
  for (const size_t parameters : {1'003, 70'001}) {
    const auto expected =
        Updates(Connect().get(), absl::StrCat("base-", parameters), parameters);
    ASSERT_EQ(expected.size(), kSteps);
    int number = 0;
    for (const bool unix_socket : {false, true}) {
      for (const size_t chunk_bytes : {1024, 4097, 3'999'999}) {
        SCOPED_TRACE(absl::StrCat(parameters, " parameters, chunks of ",
                                  chunk_bytes, unix_socket ? ", unix" : ""));
        EXPECT_EQ(
            Updates(Connect(unix_socket, chunk_bytes).get(),
                    absl::StrCat("s-", parameters, "-", number++), parameters),
            expected);
      }
    }
  }
}

TEST_F(EndToEnd, ThreeRanksGetWhatOneWorkerWithAllLossesGets) {
  constexpr size_t kParameters = 20'011;
  const auto expected = Updates(Connect().get(), "alone", kParameters);
  std::vector<std::vector<float>> updates[3];
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&, rank] {
      auto client = Connect(rank == 1);
      const auto session =
          client->AttachOrCreate(Request("together", 3, kParameters, 3));
      ASSERT_TRUE(session.ok()) << session.status();
      auto worker = Open(client.get(), "together", rank);
      ASSERT_TRUE(worker.ok()) << worker.status();
      for (int step = 1; step <= kSteps; ++step) {
        const std::vector<float> gradient = Gradient(step, rank, kParameters);
        updates[rank].push_back(std::vector<float>(kParameters));
        const auto outcome = (*worker)->Step({{rank, gradient.data()}}, {},
                                             updates[rank].back().data());
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        EXPECT_EQ(outcome->result.contributors_size(), 3);
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const auto& of_rank : updates) EXPECT_EQ(of_rank, expected);
}

TEST_F(EndToEnd, OtherOptionsOfATakenNameAreNamed) {
  auto client = Connect();
  const auto first = client->AttachOrCreate(Request("taken", 2, 100));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto same = client->AttachOrCreate(Request("taken", 2, 100));
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->uid(), first->uid());
  const auto other = client->AttachOrCreate(Request("taken", 2, 101));
  EXPECT_TRUE(absl::IsAlreadyExists(other.status()));
  ASSERT_TRUE(GetErrorDetail(other.status()).has_value());
  EXPECT_EQ(GetErrorDetail(other.status())->field, "num_parameters");
}

TEST_F(EndToEnd, ASecondProcessTakesTheRankOverAndTheFirstEnds) {
  auto client = Connect();
  ASSERT_TRUE(client->AttachOrCreate(Request("rank", 1, 100)).ok());
  auto first = Open(client.get(), "rank");
  auto second = Open(client.get(), "rank");
  ASSERT_TRUE(first.ok() && second.ok());
  const std::vector<float> gradient(100, 1.f);
  std::vector<float> update(100);
  EXPECT_EQ(
      GetErrorReason(
          (*first)->Step({{0, gradient.data()}}, {}, update.data()).status()),
      "SUPERSEDED");
  EXPECT_TRUE((*second)->Step({{0, gradient.data()}}, {}, update.data()).ok());
}

TEST_F(EndToEnd, ARefusedStepLeavesTheNextOneAsItWouldHaveBeen) {
  auto client = Connect();
  const auto expected = Updates(client.get(), "good", 5'000);
  ASSERT_TRUE(client->AttachOrCreate(Request("bad", 3, 5'000)).ok());
  auto worker = Open(client.get(), "bad");
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<float> gradients[] = {
      Gradient(1, 0, 5'000), Gradient(1, 1, 5'000), Gradient(1, 2, 5'000)};
  const StepVector contributions[] = {{0, gradients[0].data()},
                                      {1, gradients[1].data()},
                                      {2, gradients[2].data()}};
  std::vector<float> update(5'000);
  const float good = gradients[1][4'999];
  gradients[1][4'999] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(GetErrorReason(
                (*worker)->Step(contributions, {}, update.data()).status()),
            "NON_FINITE");
  gradients[1][4'999] = good;
  const auto outcome = (*worker)->Step(contributions, {}, update.data());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->result.step(), 1);
  EXPECT_EQ(outcome->attempts, 2);
  EXPECT_EQ(update, expected[0]);
}

TEST_F(EndToEnd, AResumedWorkerGetsTheCommittedUpdateAgain) {
  auto client = Connect();
  const auto updates = Updates(client.get(), "resumed", 3'000);
  EXPECT_EQ(GetErrorReason(Open(client.get(), "resumed").status()),
            "SESSION_IN_PROGRESS");
  WorkerOptions options;
  options.session = "sessions/resumed";
  options.resume_step = kSteps - 1;
  auto worker = client->OpenWorker(options);
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<float> update(3'000);
  const auto outcome = (*worker)->Step({}, {}, update.data());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_TRUE(outcome->result.repeated());
  EXPECT_EQ(update, updates.back());
}

TEST_F(EndToEnd, DeletingASessionEndsItsWorkersForGood) {
  auto client = Connect();
  ASSERT_TRUE(client->AttachOrCreate(Request("gone", 1, 100)).ok());
  auto worker = Open(client.get(), "gone");
  ASSERT_TRUE(worker.ok()) << worker.status();
  const auto sessions = client->ListSessions();
  ASSERT_TRUE(sessions.ok()) << sessions.status();
  ASSERT_EQ(sessions->size(), 1);
  ASSERT_TRUE(client->DeleteSession("sessions/gone").ok());
  const std::vector<float> gradient(100, 1.f);
  std::vector<float> update(100);
  EXPECT_TRUE(absl::IsNotFound(
      (*worker)->Step({{0, gradient.data()}}, {}, update.data()).status()));
  EXPECT_TRUE(absl::IsNotFound(client->GetSession("sessions/gone").status()));
}

TEST_F(EndToEnd, CombineAndSolveAgree) {
  auto client = Connect();
  const auto info = client->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->device(), "cpu");
  constexpr size_t kParameters = 30'000;
  const std::vector<float> vectors[] = {Gradient(1, 0, kParameters),
                                        Gradient(1, 1, kParameters)};
  std::vector<float> result(kParameters);
  v1::CombineHeader header;
  header.set_num_vectors(2);
  header.set_num_parameters(kParameters);
  const auto outcome = client->Combine(
      header, {vectors[0].data(), vectors[1].data()}, result.data());
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  v1::SolveRequest request;
  *request.mutable_gram() = outcome->result.gram();
  const auto solved = client->Solve(request);
  ASSERT_TRUE(solved.ok()) << solved.status();
  const auto& coefficients = solved->solution().coefficients();
  ASSERT_EQ(coefficients.size(), 2);
  for (size_t i = 0; i < kParameters; ++i) {
    ASSERT_NEAR(
        result[i],
        coefficients[0] * vectors[0][i] + coefficients[1] * vectors[1][i],
        1e-5);
  }
}

}  // namespace
}  // namespace concord
