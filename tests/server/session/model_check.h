// A seeded random schedule of operations on one session, whose every answer is
// compared with the reference model's.
#ifndef CONCORD_TESTS_SERVER_SESSION_MODEL_CHECK_H_
#define CONCORD_TESTS_SERVER_SESSION_MODEL_CHECK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "concord/v1/session.pb.h"
#include "tests/server/session/reference_model.h"
#include "tests/server/session/system_under_test.h"

namespace concord {

// The session of the model: FLOAT64, so that the model's arithmetic is its own.
v1::Session ToSession(const ReferenceModel::Options& options);

struct ModelCheckResult {
  int operations = 0;
  uint64_t commits = 0;
  // How often: operations, "operation: answer", kinds of steps' answers.
  std::map<std::string, int> reached;
  double largest_error = 0;  // Of an update, relative.
  // Where the two first differ, with the seed and the last operations.
  std::optional<std::string> divergence;
};

// Stops at the first divergence. `system` is of ToSession(options) and new.
ModelCheckResult CheckAgainstModel(const ReferenceModel::Options& options,
                                   uint64_t seed, int operations,
                                   SystemUnderTest* system);

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_SESSION_MODEL_CHECK_H_
