// Creating sessions: options, defaults, limits, names that are taken.
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "proto/options/layout.h"
#include "server/session/options.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

absl::Status Create(Harness* harness, const std::string& id,
                    const v1::Session& options) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  *request.mutable_session() = options;
  return harness->registry.Create(request).status();
}

TEST(Create, FillsInEveryDefault) {
  Harness harness;
  v1::CreateSessionRequest request;
  request.mutable_session()->set_num_vectors(3);
  request.mutable_session()->set_num_parameters(10);
  const absl::StatusOr<v1::Session> session = harness.registry.Create(request);
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(session->name().rfind("sessions/", 0), 0);
  EXPECT_TRUE(IsSessionId(session->name().substr(9)));
  EXPECT_EQ(session->data_type(), v1::FLOAT32);
  EXPECT_EQ(session->num_workers(), 1);
  EXPECT_EQ(session->max_vectors_per_step(), 3);
  EXPECT_EQ(session->round_timeout().seconds(), 300);
  EXPECT_EQ(session->send_timeout().seconds(), 60);
  EXPECT_EQ(session->idle_ttl().seconds(), 3600);
  EXPECT_EQ(session->options().momentum().pseudo().beta_1(), 0.9);
  EXPECT_TRUE(session->options().combiner().config().weight().has_equal());
  EXPECT_EQ(session->uid().size(), 32);
  EXPECT_EQ(session->epoch(), 1);
  EXPECT_EQ(session->device(), "cpu");
  EXPECT_GE(session->memory_bytes(), 8 * 10 * 4);
}

TEST(Create, NamesTheOptionThatIsOutOfRange) {
  struct Case {
    std::string field;
    std::function<void(v1::Session*)> change;
  };
  const std::vector<Case> cases = {
      {"session.num_vectors", [](auto* s) { s->set_num_vectors(0); }},
      {"session.num_parameters", [](auto* s) { s->set_num_parameters(0); }},
      {"session.data_type", [](auto* s) { s->set_data_type(v1::FLOAT16); }},
      {"session.max_vectors_per_step",
       [](auto* s) { s->set_max_vectors_per_step(4); }},
      {"session.round_timeout",
       [](auto* s) { s->mutable_round_timeout()->set_seconds(-1); }},
      {"session.idle_ttl", [](auto* s) { s->mutable_idle_ttl(); }},
      {"session.min_workers", [](auto* s) { s->set_min_workers(4); }},
      {"session.max_ranks_per_vector",
       [](auto* s) { s->set_max_ranks_per_vector(4); }},
      {"session.options.momentum.pseudo.beta_1",
       [](auto* s) {
         s->mutable_options()->mutable_momentum()->mutable_pseudo()->set_beta_1(
             1);
       }},
      {"session.options.combiner.config.weight.given.weights[1]",
       [](auto* s) {
         auto* weights = s->mutable_options()
                             ->mutable_combiner()
                             ->mutable_config()
                             ->mutable_weight()
                             ->mutable_given()
                             ->mutable_weights();
         weights->Add(1);
         weights->Add(-1);
         weights->Add(1);
       }},
      {"session.layout",
       [](auto* s) { s->mutable_layout()->add_segments()->add_shape(999); }},
      {"session.layout.segments[0].shape",
       [](auto* s) {
         auto* shape = s->mutable_layout()->add_segments()->mutable_shape();
         shape->Add(1ull << 63);
         shape->Add(2);
       }},
  };
  Harness harness;
  for (const Case& test : cases) {
    v1::Session options = harness.Options(kSmall);
    test.change(&options);
    const absl::Status status = Create(&harness, "s", options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(Reason(status), "INVALID_OPTION") << test.field;
    EXPECT_EQ(GetErrorDetail(status)->field, test.field);
  }
  for (const char* id : {"-a", "a-", "A", "a/b", "a b"}) {
    EXPECT_EQ(
        GetErrorDetail(Create(&harness, id, harness.Options(kSmall)))->field,
        "session_id");
  }
  v1::ServerInfo info;
  harness.registry.Describe(&info);
  EXPECT_EQ(info.sessions(), 0);
  EXPECT_EQ(info.memory_reserved_bytes(), 0);
}

TEST(Create, RefusesWhatIsBeyondALimitAndAllocatesNothing) {
  Limits limits;
  limits.max_sessions = 2;
  limits.max_vectors = 5;
  limits.memory_budget_bytes = 100'000;
  Harness harness(limits);
  const auto refused = [&](v1::Session options) {
    const absl::Status status = Create(&harness, "x", options);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(Reason(status), "LIMIT_EXCEEDED");
    return Metadata(status, "limit");
  };
  v1::Session options = harness.Options(kSmall);
  options.set_num_vectors(6);
  EXPECT_EQ(refused(options), "max_vectors");
  options.set_num_vectors(std::numeric_limits<uint32_t>::max());
  EXPECT_EQ(refused(options), "max_vectors");
  EXPECT_EQ(refused(harness.Options(std::numeric_limits<uint64_t>::max())),
            "max_parameters");
  EXPECT_EQ(refused(harness.Options(uint64_t{1} << 36)), "memory_budget_bytes");
  EXPECT_EQ(refused(harness.Options(kSmall, 5000)), "max_streams");
  harness.Create("a", harness.Options(kSmall));
  harness.Create("b", harness.Options(kSmall));
  EXPECT_EQ(refused(harness.Options(kSmall)), "max_sessions");
  v1::DeleteSessionRequest request;
  request.set_name("sessions/a");
  ASSERT_TRUE(harness.registry.Delete(request).ok());
  // 8 vectors of 3000 floats fit into the budget, not beside what is there.
  EXPECT_EQ(refused(harness.Options(3000)), "memory_budget_bytes");
  request.set_name("sessions/b");
  ASSERT_TRUE(harness.registry.Delete(request).ok());
  harness.Create("c", harness.Options(3000));
}

TEST(Create, ANameThatIsTakenTellsTheFirstOptionThatDiffers) {
  Harness harness;
  harness.Create("s", harness.Options(kSmall));
  // The same, with a default written out.
  v1::Session same = harness.Options(kSmall);
  same.set_data_type(v1::FLOAT32);
  absl::Status status = Create(&harness, "s", same);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Reason(status), "SESSION_EXISTS");
  EXPECT_EQ(Metadata(status, "field"), "(no field)");
  EXPECT_EQ(Metadata(status, "uid"),
            (*harness.registry.Get("sessions/s"))->uid());
  v1::Session other = same;
  other.mutable_options()->mutable_momentum()->mutable_pseudo()->set_beta_2(
      0.5);
  status = Create(&harness, "s", other);
  EXPECT_EQ(Metadata(status, "field"), "options.momentum.pseudo.beta_2");
  EXPECT_EQ(Metadata(status, "value"), "0.5");
  EXPECT_EQ(Metadata(status, "existing"), "0.999");
  other = same;
  other.mutable_options()->mutable_loss_recorder()->mutable_latest();
  EXPECT_EQ(Metadata(Create(&harness, "s", other), "field"),
            "options.loss_recorder");
}

TEST(List, GoesThroughAllSessionsByName) {
  Harness harness;
  for (const char* id : {"c", "a", "b"}) {
    harness.Create(id, harness.Options(kSmall));
  }
  v1::ListSessionsRequest request;
  request.set_page_size(2);
  const absl::StatusOr<v1::ListSessionsResponse> first =
      harness.registry.List(request);
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->sessions_size(), 2);
  EXPECT_EQ(first->sessions(0).name(), "sessions/a");
  request.set_page_token(first->next_page_token());
  const absl::StatusOr<v1::ListSessionsResponse> second =
      harness.registry.List(request);
  ASSERT_EQ(second->sessions_size(), 1);
  EXPECT_EQ(second->sessions(0).name(), "sessions/c");
  EXPECT_TRUE(second->next_page_token().empty());
}

TEST(Layout, ItsHashIsCheckedInEveryHeader) {
  Harness harness;
  v1::Session options = harness.Options(kSmall, 1);
  v1::Layout::Segment* segment = options.mutable_layout()->add_segments();
  segment->set_name("weight");
  segment->add_shape(10);
  segment->add_shape(100);
  const auto worker = harness.Join(harness.Create("s", options), 0);
  EXPECT_EQ(worker->stream().joined().layout_hash(),
            LayoutHash(options.layout()));
  const Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
  v1::StepHeader header = worker->Header(1, vectors);
  segment->set_name("bias");
  header.set_layout_hash(LayoutHash(options.layout()));
  EXPECT_EQ(Reason(worker->stream().Begin(header)), "LAYOUT_MISMATCH");
  header.set_layout_hash(worker->stream().joined().layout_hash());
  EXPECT_TRUE(worker->Send(header, vectors).ok());
  EXPECT_TRUE(worker->Finish().ok());
}

}  // namespace
}  // namespace concord
