// What is counted, and how it is asked for.
#include "server/rpc/metrics.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/rpc/http_endpoint.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The whole answer of `address` to GET `path`.
std::string Get(const std::string& address, const std::string& path) {
  const int file = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(
      std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  EXPECT_EQ(::connect(file, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(::send(file, request.data(), request.size(), 0),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(file, buffer, sizeof(buffer), 0)) > 0;) {
    answer.append(buffer, n);
  }
  ::close(file);
  return answer;
}

// The number behind `name`; -1 where there is no such line.
double Value(const std::string& text, const std::string& name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, name + " ")) {
      return std::atof(std::string(line.substr(name.size() + 1)).c_str());
    }
  }
  return -1;
}

std::string Text(const Metrics& metrics) {
  return metrics.Text([] { return Metrics::Facts(); });
}

void ServeMetrics(Server::Options* options) {
  options->metrics_listen = "127.0.0.1:0";
}

std::string Scrape(TestServer* server) {
  return Get(server->server().metrics_address(), "/metrics");
}

TEST(Metrics, ARoundIsOneStepAndOneAnswerPerRank) {
  TestServer server(ServeMetrics);
  server.Create("heat", 1000, /*workers=*/2);
  StreamClient first(server), second(server);
  first.Join("sessions/heat", 0);
  second.Join("sessions/heat", 1);
  for (uint64_t step = 1; step <= 3; ++step) {
    first.SendStep(step, {{0, RandomVector(1000, 1)}});
    second.SendStep(step, {{1, RandomVector(1000, 2)}});
    ASSERT_TRUE(first.ReadAnswer().ok());
    ASSERT_TRUE(second.ReadAnswer().ok());
  }
  // An answer is counted after it was sent: the ends of the streams are later.
  first.WritesDone();
  second.WritesDone();
  ASSERT_TRUE(first.Finish().ok());
  ASSERT_TRUE(second.Finish().ok());
  const std::string text = Scrape(&server);
  EXPECT_EQ(Value(text, "concord_steps_total{outcome=\"conflict_free\"}"), 3);
  EXPECT_EQ(Value(text, "concord_answers_total{outcome=\"update\"}"), 6);
  for (const char* phase : {"solve", "commit"}) {
    EXPECT_EQ(
        Value(text, absl::StrCat("concord_step_phase_seconds_count{phase=\"",
                                 phase, "\"}")),
        3)
        << phase;
  }
  for (const char* phase : {"receive", "ingest", "wait", "send"}) {
    EXPECT_EQ(
        Value(text, absl::StrCat("concord_step_phase_seconds_count{phase=\"",
                                 phase, "\"}")),
        6)
        << phase;
  }
  // 3 steps of 2 ranks of 4000 bytes, and little more.
  for (const char* name :
       {"concord_received_bytes_total", "concord_sent_bytes_total"}) {
    EXPECT_GT(Value(text, name), 24'000) << name;
    EXPECT_LT(Value(text, name), 28'000) << name;
  }
  EXPECT_EQ(
      Value(text, "concord_session_committed_step{session=\"sessions/heat\"}"),
      3);
  EXPECT_EQ(Value(text, "concord_session_ranks{session=\"sessions/heat\"}"), 2);
  EXPECT_EQ(Value(text, "concord_sessions"), 1);
  EXPECT_GT(Value(text, "process_resident_memory_bytes"), 1e6);
  EXPECT_GT(Value(text, "process_cpu_seconds_total"), 0);
  EXPECT_GT(Value(text, "process_open_fds"), 3);
}

TEST(Metrics, AFailedStreamIsCountedUnderItsCode) {
  TestServer server(ServeMetrics);
  StreamClient client(server);
  client.SendJoin("sessions/none");
  EXPECT_EQ(client.Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value(Scrape(&server),
                  "concord_stream_failures_total{code=\"NOT_FOUND\"}"),
            1);
}

TEST(Metrics, EveryOutcomeHasACounter) {
  Metrics metrics;
  v1::StepResult result;
  v1::StepTrailer trailer;
  metrics.CountStep(result, trailer);
  result.mutable_solution()->set_conflict_free(true);
  metrics.CountStep(result, trailer);
  result.mutable_solution()->set_pareto_stationary(true);
  metrics.CountStep(result, trailer);
  result.set_warming_up(true);
  metrics.CountStep(result, trailer);
  result.add_skipped_nonfinite();
  metrics.CountStep(result, trailer);
  v1::StepResult answer;
  metrics.CountAnswer(answer, {}, absl::ZeroDuration(), absl::Milliseconds(1));
  answer.set_repeated(true);
  metrics.CountAnswer(answer, {}, absl::ZeroDuration(), absl::Milliseconds(1));
  answer.set_dropped(true);
  metrics.CountAnswer(answer, {}, absl::ZeroDuration(), absl::Milliseconds(1));
  metrics.CountCheckpoint(true);
  metrics.CountCheckpoint(false);
  for (const char* reason :
       {"TOKEN_MISSING", "TOKEN_UNKNOWN", "RIGHT_MISSING", "NOT_OWNER"}) {
    metrics.CountDenied(reason);
  }
  for (const char* limit :
       {"max_sessions", "max_vectors", "max_parameters", "max_streams",
        "memory_budget_bytes", "max_streams_per_caller",
        "max_sessions_per_caller", "memory_budget_per_caller_bytes",
        "max_step_rate_per_caller"}) {
    metrics.CountLimited(
        MakeError(absl::StatusCode::kResourceExhausted,
                  {"LIMIT_EXCEEDED", "", "", "", {{"limit", limit}}}));
  }
  metrics.CountLimited(absl::OkStatus());
  metrics.CountLimited(absl::ResourceExhaustedError("of the device's"));
  const std::string text = Text(metrics);
  for (const char* name :
       {"concord_limited_total{limit=\"max_sessions\"}",
        "concord_limited_total{limit=\"max_vectors\"}",
        "concord_limited_total{limit=\"max_parameters\"}",
        "concord_limited_total{limit=\"max_streams\"}",
        "concord_limited_total{limit=\"memory_budget_bytes\"}",
        "concord_limited_total{limit=\"max_streams_per_caller\"}",
        "concord_limited_total{limit=\"max_sessions_per_caller\"}",
        "concord_limited_total{limit=\"memory_budget_per_caller_bytes\"}",
        "concord_limited_total{limit=\"max_step_rate_per_caller\"}",
        "concord_steps_total{outcome=\"in_conflict\"}",
        "concord_steps_total{outcome=\"conflict_free\"}",
        "concord_steps_total{outcome=\"stationary\"}",
        "concord_steps_total{outcome=\"warming_up\"}",
        "concord_steps_total{outcome=\"skipped\"}",
        "concord_answers_total{outcome=\"update\"}",
        "concord_answers_total{outcome=\"repeated\"}",
        "concord_answers_total{outcome=\"dropped\"}",
        "concord_checkpoints_total{outcome=\"created\"}",
        "concord_checkpoints_total{outcome=\"failed\"}",
        "concord_access_denied_total{reason=\"TOKEN_MISSING\"}",
        "concord_access_denied_total{reason=\"TOKEN_UNKNOWN\"}",
        "concord_access_denied_total{reason=\"RIGHT_MISSING\"}",
        "concord_access_denied_total{reason=\"NOT_OWNER\"}"}) {
    EXPECT_EQ(Value(text, name), 1) << name;
  }
  // Answers from before have no phases of their own.
  EXPECT_EQ(Value(text, "concord_step_phase_seconds_count{phase=\"send\"}"), 3);
  EXPECT_EQ(Value(text, "concord_step_phase_seconds_count{phase=\"receive\"}"),
            0);
}

TEST(Metrics, ACheckpointsAgeIsThatOfTheNewestOrOfTheSession) {
  Metrics metrics;
  Metrics::Facts facts;
  facts.now = absl::FromUnixSeconds(1000);
  const auto add = [&](const char* name, v1::Durability durability) {
    v1::Session& session = facts.sessions.emplace_back();
    session.set_name(name);
    session.set_durability(durability);
    session.mutable_create_time()->set_seconds(400);
  };
  add("with", v1::DURABILITY_STEP);
  facts.sessions.back().mutable_last_checkpoint_time()->set_seconds(990);
  facts.sessions.back().mutable_last_checkpoint_time()->set_nanos(500'000'000);
  add("none_yet", v1::DURABILITY_CHECKPOINT);
  add("never", v1::DURABILITY_NONE);
  const std::string text = metrics.Text([&] { return facts; });
  const auto age = [&](const std::string& name) {
    return Value(text,
                 absl::StrCat("concord_session_checkpoint_age_seconds{session="
                              "\"",
                              name, "\"}"));
  };
  EXPECT_EQ(age("with"), 9.5);
  EXPECT_EQ(age("none_yet"), 600);
  EXPECT_EQ(age("never"), -1);
}

TEST(Metrics, TheDevicesMemoryIsThere) {
  TestServer server(ServeMetrics);
  const std::string text = Scrape(&server);
  const double all = Value(text, "concord_device_memory_bytes{device=\"cpu\"}");
  const double free =
      Value(text, "concord_device_memory_free_bytes{device=\"cpu\"}");
  EXPECT_GT(free, 0);
  EXPECT_GT(all, free);
}

TEST(Metrics, SessionsAreReadOverAllPages) {
  TestServer server([](Server::Options* options) {
    ServeMetrics(options);
    options->sessions.limits.max_sessions = 120;
  });
  for (int i = 0; i < 120; ++i) server.Create(absl::StrCat("s", i), 8);
  const std::string text = Scrape(&server);
  for (int i = 0; i < 120; ++i) {
    EXPECT_EQ(
        Value(text, absl::StrCat("concord_session_ranks{session=\"sessions/s",
                                 i, "\"}")),
        1)
        << i;
  }
}

TEST(HttpEndpoint, TellsWhetherAnythingIsServed) {
  bool serving = true;
  auto endpoint = HttpEndpoint::Start(
      "127.0.0.1:0", {.metrics = [] { return std::string("text\n"); },
                      .is_serving = [&] { return serving; }});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string& address = (*endpoint)->address();
  EXPECT_THAT(Get(address, "/healthz"), StartsWith("HTTP/1.1 200 OK"));
  serving = false;
  EXPECT_THAT(Get(address, "/healthz"),
              StartsWith("HTTP/1.1 503 Service Unavailable"));
  EXPECT_THAT(Get(address, "/metrics"), HasSubstr("\r\n\r\ntext\n"));
  for (const char* path :
       {"/", "/metrics/x", "/etc/passwd", "/../etc/passwd"}) {
    EXPECT_THAT(Get(address, path), HasSubstr(" 404 ")) << path;
  }
}

TEST(HttpEndpoint, AnAddressThatCannotBeListenedOnIsNamed) {
  for (const char* address : {"9464", "127.0.0.1", "unix:/tmp/x", "a:b"}) {
    const absl::Status status = HttpEndpoint::Start(address, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(GetErrorReason(status), "INVALID_OPTION");
    EXPECT_THAT(status.message(), HasSubstr(address));
  }
  TestServer server(ServeMetrics);
  const std::string taken = server.server().metrics_address();
  const absl::Status status = HttpEndpoint::Start(taken, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr(taken));
}

}  // namespace
}  // namespace concord
