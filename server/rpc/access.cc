#include "server/rpc/access.h"

#include <openssl/sha.h>
#include <sys/stat.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "operators/errors.h"

namespace concord {
namespace {

using Json = nlohmann::json;

constexpr uint8_t kAllRights = 7;
constexpr size_t kHashBytes = SHA256_DIGEST_LENGTH;

uint8_t Bit(Right right) { return static_cast<uint8_t>(right); }

std::string Sha256(absl::string_view text) {
  std::string hash(kHashBytes, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

// `where` names the place in the file, never its secret.
absl::Status Malformed(absl::string_view where, absl::string_view accepted) {
  return InvalidField("INVALID_OPTION", absl::StrCat("token_file.", where),
                      "(not shown)", accepted);
}

bool OnlyHas(const Json& object, std::initializer_list<const char*> names) {
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    for (const char* name : names) known = known || key == name;
    if (!known) return false;
  }
  return true;
}

absl::StatusOr<Grant> ParseGrant(const Json& grant, const std::string& where) {
  Grant result;
  if (!grant.is_object() || !OnlyHas(grant, {"sessions", "rights"}) ||
      !grant.contains("sessions") || !grant["sessions"].is_string() ||
      grant["sessions"].get_ref<const std::string&>().empty()) {
    return Malformed(where,
                     "sessions (an id, or its beginning and \"*\") and "
                     "rights, nothing else");
  }
  result.prefix = grant["sessions"].get<std::string>();
  result.exact = result.prefix.back() != '*';
  if (!result.exact) result.prefix.pop_back();
  if (absl::StrContains(result.prefix, "*")) {
    return Malformed(absl::StrCat(where, ".sessions"), "\"*\" at the end only");
  }
  if (!grant.contains("rights") || !grant["rights"].is_array() ||
      grant["rights"].empty()) {
    return Malformed(absl::StrCat(where, ".rights"),
                     "a list of read, step and admin");
  }
  for (const Json& right : grant["rights"]) {
    if (right == "read") {
      result.rights |= Bit(Right::kRead);
    } else if (right == "step") {
      result.rights |= Bit(Right::kStep);
    } else if (right == "admin") {
      result.rights |= Bit(Right::kAdmin);
    } else {
      return Malformed(absl::StrCat(where, ".rights"),
                       "a list of read, step and admin");
    }
  }
  return result;
}

// Of an entry without any: none.
absl::StatusOr<CallerLimits> ParseLimits(const Json& entry,
                                         const std::string& where) {
  CallerLimits result;
  if (!entry.contains("limits")) return result;
  const Json& limits = entry["limits"];
  if (!limits.is_object() ||
      !OnlyHas(limits, {"max_streams", "max_sessions", "memory_budget_bytes",
                        "max_step_rate"})) {
    return Malformed(absl::StrCat(where, ".limits"),
                     "max_streams, max_sessions, memory_budget_bytes and "
                     "max_step_rate, nothing else");
  }
  const auto read_count = [&](const char* name, auto* to) {
    using Count = typename std::decay_t<decltype(*to)>::value_type;
    if (!limits.contains(name)) return absl::OkStatus();
    const Json& limit = limits[name];
    if (!limit.is_number_unsigned() ||
        limit.template get<uint64_t>() > std::numeric_limits<Count>::max()) {
      return Malformed(absl::StrCat(where, ".limits.", name),
                       "a whole number >= 0");
    }
    *to = limit.template get<Count>();
    return absl::OkStatus();
  };
  absl::Status status = read_count("max_streams", &result.max_streams);
  if (status.ok()) status = read_count("max_sessions", &result.max_sessions);
  if (status.ok()) {
    status = read_count("memory_budget_bytes", &result.memory_budget_bytes);
  }
  if (!status.ok()) return status;
  if (limits.contains("max_step_rate")) {
    const Json& rate = limits["max_step_rate"];
    if (!rate.is_number() || !std::isfinite(rate.get<double>()) ||
        rate.get<double>() < 0) {
      return Malformed(absl::StrCat(where, ".limits.max_step_rate"),
                       "a finite number >= 0, of steps a second");
    }
    result.max_step_rate = rate.get<double>();
  }
  return result;
}

// The SHA-256 of the entry's token.
absl::StatusOr<std::string> ParseSecret(const Json& entry,
                                        const std::string& where) {
  if (entry.contains("token") == entry.contains("sha256")) {
    return Malformed(where, "either token or sha256");
  }
  const Json& secret = entry[entry.contains("token") ? "token" : "sha256"];
  if (!secret.is_string()) return Malformed(where, "a text as secret");
  const std::string& text = secret.get_ref<const std::string&>();
  if (entry.contains("token")) {
    // A word, as the header takes it.
    constexpr size_t kShortest = 16;
    if (text.size() < kShortest ||
        text.find_first_of(" \t\r\n") != std::string::npos) {
      return Malformed(absl::StrCat(where, ".token"),
                       "at least 16 characters without blanks");
    }
    return Sha256(text);
  }
  if (text.size() != 2 * kHashBytes ||
      text.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
    return Malformed(absl::StrCat(where, ".sha256"), "64 hexadecimal digits");
  }
  return absl::HexStringToBytes(text);
}

absl::Status Unidentified(const char* reason, absl::string_view why) {
  return MakeError(absl::StatusCode::kUnauthenticated, {reason, "", "", "", {}},
                   why);
}

}  // namespace

std::shared_ptr<const Caller> Caller::Trusted(std::string name) {
  return std::make_shared<Caller>(std::move(name),
                                  std::vector<Grant>{{"", false, kAllRights}});
}

bool Caller::May(uint8_t rights, absl::string_view session) const {
  rights |= Bit(Right::kAdmin);
  absl::ConsumePrefix(&session, "sessions/");
  session = session.substr(0, session.find('/'));  // Of a checkpoint's name.
  for (const Grant& grant : grants_) {
    const bool meant = grant.exact ? session == grant.prefix
                                   : absl::StartsWith(session, grant.prefix);
    if (meant && (grant.rights & rights) != 0) return true;
  }
  return false;
}

bool Caller::MaySomewhere(uint8_t rights) const {
  rights |= Bit(Right::kAdmin);
  for (const Grant& grant : grants_) {
    if ((grant.rights & rights) != 0) return true;
  }
  return false;
}

absl::Status Caller::Missing(absl::string_view right,
                             absl::string_view session) const {
  return MakeError(
      absl::StatusCode::kPermissionDenied,
      {"RIGHT_MISSING",
       "",
       "",
       "",
       {{"caller", name_},
        {"right", std::string(right)},
        {"session", std::string(session)}}},
      absl::StrCat("\"", name_, "\" has not the right \"", right, "\" on ",
                   session.empty() ? "any session" : session));
}

absl::Status Caller::Check(Right right, absl::string_view session) const {
  if (May(Bit(right), session)) return absl::OkStatus();
  return Missing(right == Right::kRead   ? "read"
                 : right == Right::kStep ? "step"
                                         : "admin",
                 session);
}

absl::Status Caller::CheckDescribe(absl::string_view session) const {
  if (May(Bit(Right::kRead) | Bit(Right::kStep), session)) {
    return absl::OkStatus();
  }
  return Missing("read", session);
}

absl::Status Caller::CheckChange(absl::string_view session,
                                 absl::string_view owner) const {
  if (May(0, session)) return absl::OkStatus();
  const absl::Status status = Check(Right::kStep, session);
  if (!status.ok() || owner == name_) return status;
  return MakeError(
      absl::StatusCode::kPermissionDenied,
      {"NOT_OWNER",
       "",
       "",
       "",
       {{"caller", name_},
        {"owner", std::string(owner)},
        {"right", "admin"},
        {"session", std::string(session)}}},
      absl::StrCat(session, " is \"", owner, "\"'s, not \"", name_, "\"'s"));
}

absl::StatusOr<AccessControl::Callers> AccessControl::Parse(
    const std::string& text) {
  const Json file = Json::parse(text, /*cb=*/nullptr,
                                /*allow_exceptions=*/false);
  if (!file.is_object() || !OnlyHas(file, {"tokens"}) ||
      !file.contains("tokens") || !file["tokens"].is_array()) {
    return Malformed("tokens", "JSON: {\"tokens\": [...]}");
  }
  Callers callers;
  for (size_t i = 0; i < file["tokens"].size(); ++i) {
    const Json& entry = file["tokens"][i];
    const std::string where = absl::StrCat("tokens[", i, "]");
    if (!entry.is_object() ||
        !OnlyHas(entry, {"name", "token", "sha256", "grants", "limits"}) ||
        !entry.contains("name") || !entry["name"].is_string() ||
        entry["name"].get_ref<const std::string&>().empty() ||
        !entry.contains("grants") || !entry["grants"].is_array()) {
      return Malformed(
          where,
          "name, token or sha256, a list of grants, perhaps limits, nothing "
          "else");
    }
    absl::StatusOr<std::string> hash = ParseSecret(entry, where);
    if (!hash.ok()) return hash.status();
    std::vector<Grant> grants;
    for (size_t j = 0; j < entry["grants"].size(); ++j) {
      absl::StatusOr<Grant> grant = ParseGrant(
          entry["grants"][j], absl::StrCat(where, ".grants[", j, "]"));
      if (!grant.ok()) return grant.status();
      grants.push_back(*std::move(grant));
    }
    const absl::StatusOr<CallerLimits> limits = ParseLimits(entry, where);
    if (!limits.ok()) return limits.status();
    // One name may have two tokens, while one replaces the other.
    const bool is_new =
        callers
            .emplace(*std::move(hash),
                     std::make_shared<Caller>(entry["name"].get<std::string>(),
                                              std::move(grants), *limits))
            .second;
    if (!is_new) return Malformed(where, "a token that no other entry has");
  }
  return callers;
}

absl::StatusOr<AccessControl::Stamp> AccessControl::ReadStamp() const {
  struct stat found;
  if (::stat(path_.c_str(), &found) != 0) {
    return InvalidField(
        "INVALID_OPTION", "token_file", path_,
        absl::StrCat("a file that can be read: ", std::strerror(errno)));
  }
  return Stamp{
      int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec,
      found.st_size, found.st_ino};
}

absl::StatusOr<AccessControl::Callers> AccessControl::ReadFile() const {
  std::ifstream file(path_, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    return InvalidField("INVALID_OPTION", "token_file", path_,
                        "a file that can be read");
  }
  return Parse(text);
}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Load(
    std::string path) {
  auto control =
      std::unique_ptr<AccessControl>(new AccessControl(std::move(path)));
  const absl::StatusOr<bool> loaded = control->Reload();
  if (!loaded.ok()) return loaded.status();
  return control;
}

absl::StatusOr<bool> AccessControl::Reload() {
  const absl::StatusOr<Stamp> stamp = ReadStamp();
  {
    // One that is away just now counts as changed once.
    absl::MutexLock lock(&mutex_);
    const Stamp found = stamp.ok() ? *stamp : Stamp{-1, -1, 0};
    if (found == stamp_) return false;
    stamp_ = found;
  }
  if (!stamp.ok()) return stamp.status();
  absl::StatusOr<Callers> callers = ReadFile();
  if (!callers.ok()) return callers.status();
  absl::MutexLock lock(&mutex_);
  callers_ = *std::move(callers);
  return true;
}

absl::StatusOr<std::shared_ptr<const Caller>> AccessControl::Identify(
    absl::string_view authorization) const {
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return Unidentified("TOKEN_MISSING",
                        "this server wants a token: \"authorization: Bearer "
                        "TOKEN\" in the call's metadata");
  }
  const std::string hash =
      Sha256(absl::StripAsciiWhitespace(authorization.substr(kScheme.size())));
  absl::MutexLock lock(&mutex_);
  const auto found = callers_.find(hash);
  if (found == callers_.end()) {
    return Unidentified("TOKEN_UNKNOWN", "this server does not know the token");
  }
  return found->second;
}

}  // namespace concord
