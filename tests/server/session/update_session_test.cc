// Options that change between the steps of a session.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

// A request that changes `paths` to what `change` sets.
template <class Change>
v1::UpdateSessionRequest Request(const std::string& name,
                                 const std::vector<std::string>& paths,
                                 Change change) {
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name(name);
  for (const std::string& path : paths) {
    request.mutable_update_mask()->add_paths(path);
  }
  change(request.mutable_session());
  return request;
}

v1::UpdateSessionRequest Beta1(const std::string& name, double beta_1) {
  return Request(name, {"options.momentum.pseudo.beta_1"},
                 [=](v1::Session* session) {
                   session->mutable_options()
                       ->mutable_momentum()
                       ->mutable_pseudo()
                       ->set_beta_1(beta_1);
                 });
}

// A session that took its options at creation, and one that got them by an
// update before its first step.
TEST(UpdateSession, GivesTheBitsOfASessionThatWasMadeSo) {
  Harness harness;
  v1::Session made = harness.Options(kSmall, 1);
  v1::OperatorOptions* options = made.mutable_options();
  options->mutable_combiner()->mutable_cagrad()->set_c(0.25);
  options->mutable_momentum()->mutable_pseudo()->set_beta_1(0.5);
  const auto twin = harness.Join(harness.Create("made", made), 0);
  const std::string name =
      harness.Create("updated", harness.Options(kSmall, 1));
  const auto worker = harness.Join(name, 0);
  const auto updated = harness.registry.Update(Request(
      name, {"options.combiner.cagrad.c", "options.momentum.pseudo.beta_1"},
      [&](v1::Session* session) { *session->mutable_options() = *options; }));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->options().combiner().cagrad().c(), 0.25);
  EXPECT_EQ(updated->options().momentum().pseudo().beta_1(), 0.5);
  EXPECT_EQ(updated->options().momentum().pseudo().beta_2(), 0.999);
  for (uint64_t step = 1; step <= 3; ++step) {
    const Vectors vectors = Gradients(kSmall, step, {0, 1, 2});
    const auto answer = worker->Step(step, vectors);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->update, twin->Step(step, vectors)->update);
  }
}

TEST(UpdateSession, LeavesTheOpenRoundAloneAndHoldsFromTheNext) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall));
  auto workers = harness.JoinAll(name);
  const std::string other = harness.Create("t", harness.Options(kSmall));
  auto twins = harness.JoinAll(other);
  // Rank 0 is in when the options change.
  const Vectors first = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, first), first).ok());
  Waiting waiting(workers[0].get());
  const auto updated = harness.registry.Update(Beta1(name, 0.25));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->options().momentum().pseudo().beta_1(), 0.25);
  const Vectors second = Gradients(kSmall, 1, {1});
  ASSERT_TRUE(workers[1]->Send(workers[1]->Header(1, second), second).ok());
  Waiting also(workers[1].get());
  ASSERT_TRUE(workers[2]->Step(1, Gradients(kSmall, 1, {2})).ok());
  EXPECT_EQ(waiting.Get()->update, harness.StepAll(&twins, 1).update);
  ASSERT_TRUE(also.Get().ok());
  ASSERT_TRUE(harness.registry.Update(Beta1(other, 0.25)).ok());
  EXPECT_EQ(harness.StepAll(&workers, 2).update,
            harness.StepAll(&twins, 2).update);
}

TEST(UpdateSession, TheCommittedStepIsSentAgainAsItWas) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  const auto worker = harness.Join(name, 0);
  const Vectors vectors = Gradients(kSmall, 1, {0, 1, 2});
  const Vector update = worker->Step(1, vectors)->update;
  ASSERT_TRUE(harness.registry.Update(Beta1(name, 0)).ok());
  v1::StepHeader again = worker->Header(1, {});
  again.set_attempt(2);
  ASSERT_TRUE(worker->Send(again, {}).ok());
  EXPECT_EQ(worker->Finish()->update, update);
}

TEST(UpdateSession, ARankThatComesLaterFindsTheOptionsOfTheCreation) {
  Harness harness;
  const v1::Session options = harness.Options(kSmall);
  const std::string name = harness.Create("s", options);
  ASSERT_TRUE(harness.registry.Update(Beta1(name, 0.25)).ok());
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  *request.mutable_session() = options;
  const absl::Status status = harness.registry.Create(request).status();
  EXPECT_EQ(Reason(status), "SESSION_EXISTS");
  EXPECT_EQ(GetErrorDetail(status)->field, "");
}

TEST(UpdateSession, TimeoutsChangeToo) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall));
  auto workers = harness.JoinAll(name);
  const auto updated = harness.registry.Update(Request(
      name, {"round_timeout", "send_timeout"}, [](v1::Session* session) {
        session->mutable_round_timeout()->set_seconds(2);
        session->mutable_send_timeout()->set_seconds(3);
      }));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->round_timeout().seconds(), 2);
  const auto session = harness.registry.Get(name);
  EXPECT_EQ((*session)->send_timeout(), absl::Seconds(3));
  const Vectors first = Gradients(kSmall, 1, {0});
  ASSERT_TRUE(workers[0]->Send(workers[0]->Header(1, first), first).ok());
  Waiting waiting(workers[0].get());
  harness.clock.Advance(absl::Seconds(2.5));
  EXPECT_EQ(Reason(waiting.Get().status()), "ROUND_TIMEOUT");
}

struct Refused {
  const char* name;
  std::vector<std::string> paths;
  void (*change)(v1::Session*);
  const char* reason;
  const char* field;
};

class RefusedUpdate : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedUpdate, NamesTheFieldAndTheNextStepIsAsIfNothingHadBeen) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  const auto worker = harness.Join(name, 0);
  const auto twin =
      harness.Join(harness.Create("t", harness.Options(kSmall, 1)), 0);
  const absl::Status status =
      harness.registry
          .Update(Request(name, GetParam().paths, GetParam().change))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(Reason(status), GetParam().reason);
  ASSERT_TRUE(GetErrorDetail(status).has_value());
  EXPECT_EQ(GetErrorDetail(status)->field, GetParam().field);
  for (uint64_t step = 1; step <= 2; ++step) {
    const Vectors vectors = Gradients(kSmall, step, {0, 1, 2});
    EXPECT_EQ(worker->Step(step, vectors)->update,
              twin->Step(step, vectors)->update);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedUpdate,
    ::testing::Values(
        Refused{
            "NoMask", {}, [](v1::Session*) {}, "INVALID_OPTION", "update_mask"},
        Refused{"NoSuchPath",
                {"options.combiner.nothing"},
                [](v1::Session*) {},
                "INVALID_OPTION",
                "update_mask.paths[0]"},
        Refused{"Sizes",
                {"round_timeout", "num_parameters"},
                [](v1::Session* s) { s->set_num_parameters(3); },
                "IMMUTABLE_OPTION",
                "update_mask.paths[1]"},
        Refused{"AnotherMomentum",
                {"options.momentum"},
                [](v1::Session* s) {
                  s->mutable_options()->mutable_momentum()->mutable_none();
                },
                "IMMUTABLE_OPTION",
                "session.options.momentum"},
        Refused{
            "ARecorder",
            {"options.loss_recorder.latest"},
            [](v1::Session* s) {
              s->mutable_options()->mutable_loss_recorder()->mutable_latest();
            },
            "IMMUTABLE_OPTION",
            "session.options.loss_recorder"},
        Refused{"BetaOutOfRange",
                {"options.momentum.pseudo.beta_2"},
                [](v1::Session* s) {
                  s->mutable_options()
                      ->mutable_momentum()
                      ->mutable_pseudo()
                      ->set_beta_2(1);
                },
                "INVALID_OPTION",
                "session.options.momentum.pseudo.beta_2"},
        Refused{"CombinerOutOfRange",
                {"options.combiner"},
                [](v1::Session* s) {
                  s->mutable_options()
                      ->mutable_combiner()
                      ->mutable_fairgrad()
                      ->set_alpha(-1);
                },
                "INVALID_OPTION",
                "session.options.combiner.fairgrad.alpha"},
        Refused{"WorksOnColumns",
                {"options.combiner"},
                [](v1::Session* s) {
                  s->mutable_options()->mutable_combiner()->mutable_graddrop();
                },
                "IMMUTABLE_OPTION",
                "session.options.combiner"}),
    [](const auto& test) { return test.param.name; });

TEST(UpdateSession, OfAnotherCreationOrOfNoneIsRefused) {
  Harness harness;
  const std::string name = harness.Create("s", harness.Options(kSmall, 1));
  v1::UpdateSessionRequest request = Beta1(name, 0.5);
  request.set_uid("another");
  EXPECT_EQ(Reason(harness.registry.Update(request).status()),
            "SESSION_REPLACED");
  EXPECT_EQ(
      Reason(harness.registry.Update(Beta1("sessions/none", 0.5)).status()),
      "SESSION_NOT_FOUND");
}

}  // namespace
}  // namespace concord
