// One session on a server that can be restarted and can die, as the model check
// drives it: one thread, a fake clock, streams by number. A subclass that
// changes a request on its way plants a bug.
#ifndef CONCORD_TESTS_SERVER_SESSION_SYSTEM_UNDER_TEST_H_
#define CONCORD_TESTS_SERVER_SESSION_SYSTEM_UNDER_TEST_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/step.pb.h"
#include "server/session/phase.h"
#include "server/storage/state_directory.h"
#include "tests/server/session/session_harness.h"
#include "tests/server/storage/storage_testing.h"

namespace concord {

class SystemUnderTest {
 public:
  static constexpr char kName[] = "sessions/s";

  // `options` of the session that Create makes.
  explicit SystemUnderTest(const v1::Session& options);
  virtual ~SystemUnderTest() = default;

  absl::StatusOr<v1::Session> Create();
  absl::Status Delete(const std::string& uid);
  absl::StatusOr<v1::Session> Describe();

  absl::Status Join(int stream, const v1::Join& join);
  // `data`: all bytes that the header announces.
  virtual absl::Status Begin(int stream, const v1::StepHeader& header,
                             const std::string& data);
  bool WasSent(int stream) const { return streams_.at(stream).data.empty(); }
  // The first `bytes` of what was not sent yet.
  absl::Status Send(int stream, size_t bytes);
  // Sends the rest. nullopt: it would wait for other ranks; to be asked again.
  absl::StatusOr<std::optional<Answer>> Finish(int stream);
  absl::Status Leave(int stream);
  void Close(int stream) { streams_.erase(stream); }
  bool IsCancelled(int stream) const;

  void Advance(absl::Duration duration) { harness_->clock.Advance(duration); }
  void Reap() { harness_->registry.ReapIdle(); }

  absl::Status TakeCheckpoint();
  // nullopt: the newest.
  absl::StatusOr<v1::Session> Restore(std::optional<uint64_t> step);
  std::set<uint64_t> Checkpoints();

  // Both end all streams, and return why the session could not be taken up.
  // Drains; the machine stops afterwards. Not while a round is open, whose end
  // draining would wait for.
  absl::Status RestartCleanly();
  // The state file is left as it is, or, where PrepareCrash has come to its
  // phase, as it was then.
  absl::Status Crash();

  // The next time that a step is in `phase` is the instant of the next crash.
  void PrepareCrash(Phase phase);
  bool has_crashed() const { return at_crash_.has_value(); }
  void ForgetCrash();

 private:
  struct Stream {
    std::unique_ptr<Worker> worker;
    std::string data;  // Not sent yet.
  };

  void Start();
  absl::Status TakeUp();
  void Stop();

  const v1::Session options_;
  const TemporaryDirectory place_;
  int boot_ = 0;
  std::optional<Phase> phase_of_crash_;
  std::optional<std::string> at_crash_;  // The state file.
  std::unique_ptr<StateDirectory> directory_;
  std::unique_ptr<Harness> harness_;
  std::map<int, Stream> streams_;
  // A clock for checkpoints, which the disk's is too coarse for: the time of
  // the file that was written last.
  std::filesystem::file_time_type written_at_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_SESSION_SYSTEM_UNDER_TEST_H_
