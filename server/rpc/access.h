// Who calls, and what he may do.
//
// A server with a token file serves whoever brings one of its tokens, as gRPC
// metadata:  authorization: Bearer TOKEN.  The file is JSON:
//
//   {"tokens": [
//     {"name": "heat-workers",
//      "sha256": "9f86d081884c7d65…",     hex; or "token" with the text itself
//      "grants": [{"sessions": "heat-*", "rights": ["step"]}],
//      "limits": {"max_streams": 16, "max_sessions": 4,
//                 "memory_budget_bytes": 8000000000, "max_step_rate": 50}},
//     {"name": "operations",
//      "sha256": "…",
//      "grants": [{"sessions": "*", "rights": ["admin"]}]}]}
//
// "sessions" is a session's {id}, or the beginning of such with a "*" behind
// it. The rights:
//
//   read   list, describe, watch and export sessions and their checkpoints
//   step   create sessions, describe them and have steps in them; change,
//          checkpoint, restore and delete those that one has created
//   admin  everything
//
// "limits", or some of them, take the place of the server's for every caller
// (caller_account.h); 0: as much as the server has. Two tokens of one name are
// one caller.
//
// Errors are UNAUTHENTICATED (TOKEN_MISSING, TOKEN_UNKNOWN) and
// PERMISSION_DENIED (RIGHT_MISSING, NOT_OWNER); none of them has the token.
#ifndef CONCORD_SERVER_RPC_ACCESS_H_
#define CONCORD_SERVER_RPC_ACCESS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/session/limits.h"

namespace concord {

enum class Right : uint8_t { kRead = 1, kStep = 2, kAdmin = 4 };

// Of sessions; "read", "step", "admin".
struct Grant {
  std::string prefix;  // Of the sessions' {id}s; the whole one where `exact`.
  bool exact = false;
  uint8_t rights = 0;  // A sum of Rights.
};

class Caller {
 public:
  Caller(std::string name, std::vector<Grant> grants,
         const CallerLimits& limits = {})
      : name_(std::move(name)), grants_(std::move(grants)), limits_(limits) {}

  // May do everything.
  static std::shared_ptr<const Caller> Trusted(std::string name);

  const std::string& name() const { return name_; }
  const CallerLimits& limits() const { return limits_; }

  // Whether one of `rights` (a sum) or admin is his on "sessions/{id}", which
  // may have a checkpoint's part behind it.
  bool May(uint8_t rights, absl::string_view session) const;
  // The same on any session at all.
  bool MaySomewhere(uint8_t rights) const;

  // RIGHT_MISSING unless May(right). What describes a session needs kRead or
  // kStep: CheckDescribe.
  absl::Status Check(Right right, absl::string_view session) const;
  absl::Status CheckDescribe(absl::string_view session) const;
  // Of what `owner` has created: NOT_OWNER, RIGHT_MISSING.
  absl::Status CheckChange(absl::string_view session,
                           absl::string_view owner) const;

 private:
  absl::Status Missing(absl::string_view right,
                       absl::string_view session) const;

  const std::string name_;
  const std::vector<Grant> grants_;
  const CallerLimits limits_;
};

// Threads: safe.
class AccessControl {
 public:
  // Of the file. INVALID_ARGUMENT (INVALID_OPTION) where it cannot be read or
  // is not as above; what is wrong is said without any token.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Load(std::string path);

  // `authorization`: the metadata's value; "": there is none.
  absl::StatusOr<std::shared_ptr<const Caller>> Identify(
      absl::string_view authorization) const;

  // Reads the file again where it has changed since; true: callers are those
  // of the new one. On an error they stay as they are, and it is not said
  // again until the file changes again.
  absl::StatusOr<bool> Reload();

 private:
  // By the token's SHA-256: whoever measures the time of a comparison learns of
  // that alone.
  using Callers = std::map<std::string, std::shared_ptr<const Caller>>;
  // Tells one content of the file from another.
  struct Stamp {
    int64_t modified_ns = 0;
    int64_t size = 0;
    uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };

  explicit AccessControl(std::string path) : path_(std::move(path)) {}
  static absl::StatusOr<Callers> Parse(const std::string& text);
  absl::StatusOr<Stamp> ReadStamp() const;
  absl::StatusOr<Callers> ReadFile() const;

  const std::string path_;
  mutable absl::Mutex mutex_;
  Callers callers_ ABSL_GUARDED_BY(mutex_);
  Stamp stamp_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_ACCESS_H_
