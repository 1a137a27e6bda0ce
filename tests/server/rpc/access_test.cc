#include "server/rpc/access.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "server/rpc/gate.h"
#include "tests/server/session/one_limit.h"

namespace concord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kWorkers[] = "0123456789-workers";
constexpr char kReader[] = "0123456789-reader";
constexpr char kOperations[] = "0123456789-operations";
// echo -n 0123456789-reader | sha256sum
constexpr char kFile[] = R"({"tokens": [
  {"name": "workers", "token": "0123456789-workers",
   "grants": [{"sessions": "heat-*", "rights": ["step"]},
              {"sessions": "wave", "rights": ["step", "read"]}]},
  {"name": "reader",
   "sha256": "12F932D8888E1D0DA8458C65B3A9B70DE1AC1FDD39B9AACF09FF28363B09E99F",
   "grants": [{"sessions": "*", "rights": ["read"]}]},
  {"name": "operations", "token": "0123456789-operations",
   "grants": [{"sessions": "*", "rights": ["admin"]}]},
  {"name": "nobody", "token": "0123456789-nobody", "grants": []}]})";

class Access : public ::testing::Test {
 protected:
  Access()
      : path_(absl::StrCat(
            ::testing::TempDir(), "/tokens-", ::getpid(), "-",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~Access() override { std::filesystem::remove(path_); }

  // Through a new file, so that it counts as changed whatever the clock says.
  void Write(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }

  std::unique_ptr<AccessControl> Load(const std::string& text = kFile) {
    Write(text);
    auto access = AccessControl::Load(path_);
    EXPECT_TRUE(access.ok()) << access.status();
    return access.ok() ? *std::move(access) : nullptr;
  }

  static std::shared_ptr<const Caller> Find(const AccessControl& access,
                                            const std::string& token) {
    const auto caller = access.Identify(absl::StrCat("Bearer ", token));
    EXPECT_TRUE(caller.ok()) << caller.status();
    return caller.ok() ? *caller : Caller::Trusted("");
  }

  const std::string path_;
};

TEST_F(Access, ATokenNamesItsCaller) {
  const auto access = Load();
  EXPECT_EQ(Find(*access, kWorkers)->name(), "workers");
  EXPECT_EQ(Find(*access, kOperations)->name(), "operations");
  EXPECT_EQ((*access->Identify(absl::StrCat("bearer  ", kWorkers)))->name(),
            "workers");
}

TEST_F(Access, OneThatIsNotThereIsUnauthenticatedAndNotRepeated) {
  const auto access = Load();
  for (const std::string text :
       {"", "Bearer", "Basic 0123456789-workers", "0123456789-workers"}) {
    const auto caller = access->Identify(text);
    EXPECT_EQ(caller.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(GetErrorReason(caller.status()), "TOKEN_MISSING") << text;
  }
  for (const std::string token : {"", "0123456789-worker", "unknown-secret",
                                  "0123456789-workers 0123456789-workers"}) {
    const auto caller = access->Identify(absl::StrCat("Bearer ", token));
    EXPECT_EQ(caller.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(GetErrorReason(caller.status()), "TOKEN_UNKNOWN") << token;
    if (!token.empty()) {
      EXPECT_THAT(caller.status().ToString(), Not(HasSubstr(token)));
    }
  }
}

TEST_F(Access, RightsAreThoseOfTheSessionsThatAreGranted) {
  const auto access = Load();
  const auto workers = Find(*access, kWorkers);
  EXPECT_TRUE(workers->Check(Right::kStep, "sessions/heat-1").ok());
  EXPECT_TRUE(workers->Check(Right::kStep, "heat-").ok());
  EXPECT_TRUE(workers->Check(Right::kRead, "sessions/wave").ok());
  EXPECT_TRUE(workers->CheckDescribe("sessions/heat-1").ok());
  EXPECT_TRUE(workers->Check(Right::kRead, "sessions/wave/checkpoints/3").ok());
  for (const char* session :
       {"sessions/heat", "sessions/wave-1", "other", ""}) {
    const absl::Status status = workers->Check(Right::kStep, session);
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << session;
    EXPECT_EQ(GetErrorReason(status), "RIGHT_MISSING");
    EXPECT_FALSE(workers->CheckDescribe(session).ok()) << session;
  }
  const absl::Status status = workers->Check(Right::kRead, "sessions/heat-1");
  EXPECT_EQ(GetErrorReason(status), "RIGHT_MISSING");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"workers\" has not the right \"read\" on "
                        "sessions/heat-1"));
  const auto operations = Find(*access, kOperations);
  for (const Right right : {Right::kRead, Right::kStep, Right::kAdmin}) {
    EXPECT_TRUE(operations->Check(right, "sessions/any").ok());
  }
  EXPECT_FALSE(Find(*access, "0123456789-nobody")->MaySomewhere(7));
}

TEST_F(Access, ASessionIsChangedByItsOwnerAndByWhoHasAdmin) {
  const auto access = Load();
  const auto workers = Find(*access, kWorkers);
  EXPECT_TRUE(workers->CheckChange("sessions/heat-1", "workers").ok());
  EXPECT_TRUE(Find(*access, kOperations)
                  ->CheckChange("sessions/heat-1", "workers")
                  .ok());
  EXPECT_EQ(GetErrorReason(workers->CheckChange("sessions/heat-1", "others")),
            "NOT_OWNER");
  EXPECT_EQ(GetErrorReason(workers->CheckChange("sessions/heat-1", "")),
            "NOT_OWNER");
  EXPECT_EQ(GetErrorReason(workers->CheckChange("sessions/x", "workers")),
            "RIGHT_MISSING");
}

TEST_F(Access, AFileThatChangesIsReadAgainAndABadOneChangesNothing) {
  const auto access = Load();
  EXPECT_FALSE(*access->Reload());
  Write("{\"tokens\": [");
  EXPECT_FALSE(access->Reload().ok());
  EXPECT_FALSE(*access->Reload());  // Said once.
  EXPECT_EQ(Find(*access, kWorkers)->name(), "workers");
  std::filesystem::remove(path_);
  EXPECT_FALSE(access->Reload().ok());
  EXPECT_FALSE(*access->Reload());
  EXPECT_EQ(Find(*access, kWorkers)->name(), "workers");
  Write(R"({"tokens": [{"name": "new", "token": "0123456789-new-one",
                        "grants": []}]})");
  EXPECT_TRUE(*access->Reload());
  EXPECT_EQ(Find(*access, "0123456789-new-one")->name(), "new");
  EXPECT_EQ(GetErrorReason(
                access->Identify(absl::StrCat("Bearer ", kWorkers)).status()),
            "TOKEN_UNKNOWN");
}

TEST_F(Access, WhatIsWrongWithAFileIsSaidWithoutItsSecrets) {
  const struct {
    const char* text;
    const char* field;
  } files[] = {
      {"", "token_file.tokens"},
      {"[]", "token_file.tokens"},
      {R"({"tokens": [], "more": 1})", "token_file.tokens"},
      {R"({"tokens": [{"name": "a", "grants": []}]})", "token_file.tokens[0]"},
      {R"({"tokens": [{"name": "", "token": "secret-secret-secret",
           "grants": []}]})",
       "token_file.tokens[0]"},
      {R"({"tokens": [{"name": "a", "token": "secret-short", "grants": []}]})",
       "token_file.tokens[0].token"},
      {R"({"tokens": [{"name": "a", "token": "secret-with a-blank",
           "grants": []}]})",
       "token_file.tokens[0].token"},
      {R"({"tokens": [{"name": "a", "sha256": "secret", "grants": []}]})",
       "token_file.tokens[0].sha256"},
      {R"({"tokens": [{"name": "a", "token": "secret-secret-secret",
           "sha256": "00", "grants": []}]})",
       "token_file.tokens[0]"},
      {R"({"tokens": [{"name": "a", "token": "secret-secret-secret",
           "grants": [{"sessions": "a*b", "rights": ["step"]}]}]})",
       "token_file.tokens[0].grants[0].sessions"},
      {R"({"tokens": [{"name": "a", "token": "secret-secret-secret",
           "grants": [{"sessions": "a", "rights": ["write"]}]}]})",
       "token_file.tokens[0].grants[0].rights"},
      {R"({"tokens": [{"name": "a", "token": "secret-secret-secret",
           "grants": [{"sessions": "a", "rights": []}]}]})",
       "token_file.tokens[0].grants[0].rights"},
      {R"({"tokens": [{"name": "a", "token": "secret-secret-secret",
           "grants": []}, {"name": "b", "token": "secret-secret-secret",
           "grants": []}]})",
       "token_file.tokens[1]"},
  };
  for (const auto& file : files) {
    Write(file.text);
    const absl::Status status = AccessControl::Load(path_).status();
    const auto detail = GetErrorDetail(status);
    ASSERT_TRUE(detail.has_value()) << file.text;
    EXPECT_EQ(detail->field, file.field) << file.text;
    EXPECT_THAT(status.ToString(), Not(HasSubstr("secret")));
  }
  std::filesystem::remove(path_);
  EXPECT_EQ(GetErrorDetail(AccessControl::Load(path_).status())->field,
            "token_file");
}

TEST_F(Access, ATokenMayHaveLimitsOfItsOwn) {
  const auto access = Load(R"({"tokens": [
    {"name": "all", "token": "0123456789-all-limits", "grants": [],
     "limits": {"max_streams": 3, "max_sessions": 0,
                "memory_budget_bytes": 5000000000, "max_step_rate": 0.5}},
    {"name": "one", "token": "0123456789-one-limit", "grants": [],
     "limits": {"max_streams": 3}},
    {"name": "none", "token": "0123456789-without", "grants": []}]})");
  EXPECT_EQ(Find(*access, "0123456789-all-limits")->limits(),
            (CallerLimits{3, 0, 5'000'000'000, 0.5}));
  EXPECT_EQ(Find(*access, "0123456789-one-limit")->limits(),
            OneLimit(&CallerLimits::max_streams, 3));
  EXPECT_EQ(Find(*access, "0123456789-without")->limits(), CallerLimits());
}

TEST_F(Access, LimitsThatMakeNoSenseAreNamed) {
  const struct {
    const char* limits;
    const char* field;
  } files[] = {
      {"[]", "limits"},
      {R"({"max_steps": 1})", "limits"},
      {R"({"max_streams": -1})", "limits.max_streams"},
      {R"({"max_streams": 1.5})", "limits.max_streams"},
      {R"({"max_streams": 4294967296})", "limits.max_streams"},
      {R"({"max_sessions": "2"})", "limits.max_sessions"},
      {R"({"memory_budget_bytes": "8GB"})", "limits.memory_budget_bytes"},
      {R"({"max_step_rate": -0.5})", "limits.max_step_rate"},
      {R"({"max_step_rate": null})", "limits.max_step_rate"},
  };
  for (const auto& file : files) {
    Write(absl::StrCat(R"({"tokens": [{"name": "a", "grants": [],
                           "token": "0123456789-secret", "limits": )",
                       file.limits, "}]}"));
    const auto detail = GetErrorDetail(AccessControl::Load(path_).status());
    ASSERT_TRUE(detail.has_value()) << file.limits;
    EXPECT_EQ(detail->field, absl::StrCat("token_file.tokens[0].", file.field));
  }
}

TEST(AccountName, IsTheCallersNameElseHisMachine) {
  const struct {
    const char* name;
    const char* peer;
    const char* account;
  } visits[] = {
      {"heat-workers", "ipv4:10.0.0.7:43071", "heat-workers"},
      {"", "ipv4:10.0.0.7:43071", "10.0.0.7"},
      {"", "ipv6:%5B2001:db8::7%5D:43071", "2001:db8::7"},
      {"", "ipv4:127.0.0.1:43071", "local"},
      {"", "ipv6:%5B::1%5D:43071", "local"},
      {"", "unix:/run/concord.sock", "local"},
      {"", "unix:", "local"},
      {"", "local", "local"},
  };
  for (const auto& visit : visits) {
    EXPECT_EQ(
        AccountName({"Step", visit.peer, Caller::Trusted(visit.name), {}}),
        visit.account)
        << visit.peer;
  }
}

TEST_F(Access, ATokensSha256StandsForIt) {
  const auto access = Load();
  const auto reader = Find(*access, kReader);
  EXPECT_EQ(reader->name(), "reader");
  EXPECT_TRUE(reader->Check(Right::kRead, "sessions/any").ok());
  EXPECT_FALSE(reader->Check(Right::kStep, "sessions/any").ok());
}

}  // namespace
}  // namespace concord
