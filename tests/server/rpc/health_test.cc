// grpc.health.v1 as the server speaks it.
#include "server/rpc/health.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

struct Watch {
  Watch(const TestServer& server, const std::string& service)
      : stub(grpc::health::v1::Health::NewStub(server.Connect())) {
    HealthCheckRequest request;
    request.set_service(service);
    reader = stub->Watch(&context, request);
  }
  // UNKNOWN at the end of the stream.
  HealthCheckResponse::ServingStatus Next() {
    HealthCheckResponse response;
    return reader->Read(&response) ? response.status()
                                   : HealthCheckResponse::UNKNOWN;
  }

  grpc::ClientContext context;
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;
};

TEST(Health, AWatchTellsOfTheDrainAndEndsWithTheServer) {
  TestServer server;
  Watch whole(server, "");
  Watch service(server, "concord.v1.Concord");
  EXPECT_EQ(whole.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(service.Next(), HealthCheckResponse::SERVING);
  std::thread drain([&] { server.server().Drain(absl::Seconds(30)); });
  for (Watch* watch : {&whole, &service}) {
    EXPECT_EQ(watch->Next(), HealthCheckResponse::NOT_SERVING);
    EXPECT_EQ(watch->Next(), HealthCheckResponse::UNKNOWN);
    EXPECT_EQ(watch->reader->Finish().error_code(),
              grpc::StatusCode::UNAVAILABLE);
  }
  drain.join();
}

TEST(Health, EveryServiceThatIsServedHasAnAnswer) {
  TestServer server;
  const auto stub = grpc::health::v1::Health::NewStub(server.Connect());
  for (const char* name : {"", "concord.v1.Concord", "grpc.health.v1.Health",
                           "grpc.reflection.v1alpha.ServerReflection"}) {
    HealthCheckRequest request;
    request.set_service(name);
    HealthCheckResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(stub->Check(&context, request, &response).ok()) << name;
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING) << name;
  }
}

TEST(Health, AnUnknownServiceIsNamed) {
  TestServer server;
  HealthCheckRequest request;
  request.set_service("concord.v9.Concord");
  HealthCheckResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(server.Connect())
          ->Check(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_NE(status.error_message().find("concord.v9.Concord"),
            std::string::npos);
  // A watch says so and goes on: the protocol lets services come later.
  Watch watch(server, "concord.v9.Concord");
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST(Health, WatchesAreLimitedAndThoseWhoLeaveMakeRoom) {
  TestServer server;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < HealthService::kMaxWatches; ++i) {
    watches.push_back(std::make_unique<Watch>(server, ""));
    ASSERT_EQ(watches.back()->Next(), HealthCheckResponse::SERVING);
  }
  Watch refused(server, "");
  EXPECT_EQ(refused.Next(), HealthCheckResponse::UNKNOWN);
  const WireError error = ReadError(refused.reader->Finish());
  EXPECT_EQ(error.code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(error.metadata.at("accepted"), "64");

  watches.pop_back();  // Its context's end cancels the call.
  HealthCheckResponse::ServingStatus status = HealthCheckResponse::UNKNOWN;
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  while (status != HealthCheckResponse::SERVING && absl::Now() < patience) {
    status = Watch(server, "").Next();
  }
  EXPECT_EQ(status, HealthCheckResponse::SERVING);
}

}  // namespace
}  // namespace concord
