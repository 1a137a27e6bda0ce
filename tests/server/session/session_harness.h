// What tests of sessions share: a clock to turn, a server without RPCs, workers
// that drive a RankStream, and gradients from a seed.
#ifndef CONCORD_TESTS_SERVER_SESSION_SESSION_HARNESS_H_
#define CONCORD_TESTS_SERVER_SESSION_SESSION_HARNESS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/cpu_kernels.h"
#include "server/session/clock.h"
#include "server/session/rank_stream.h"
#include "server/session/registry.h"

namespace concord {

class FakeClock : public Clock {
 public:
  absl::Time Now() const override {
    ++asked_;
    return absl::FromUnixMicros(micros_.load());
  }
  absl::Duration tick() const override { return absl::Milliseconds(1); }
  // How often anybody wanted to know the time: whoever waits does at every
  // tick.
  int asked() const { return asked_; }
  void Advance(absl::Duration duration) {
    micros_ += absl::ToInt64Microseconds(duration);
  }

 private:
  std::atomic<int64_t> micros_{1'000'000'000};
  mutable std::atomic<int> asked_{0};
};

// Three losses, one rank each.
inline constexpr uint32_t kLosses = 3;
inline constexpr size_t kSmall = 1000;     // Committed inline.
inline constexpr size_t kLarge = 200'000;  // Committed in the background.

using Vector = std::vector<float>;
// Loss -> gradient.
using Vectors = std::map<uint32_t, Vector>;

Vector RandomVector(size_t n, int seed);
// The gradient of loss `index` at `step`, as all tests use it.
Vector Gradient(size_t n, uint64_t step, uint32_t index);
Vectors Gradients(size_t n, uint64_t step, std::vector<uint32_t> indexes);

// A whole answer.
struct Answer {
  v1::StepResult result;
  v1::StepTrailer trailer;
  Vector update;  // Widened, where it is sent in 16 bits.
};

// `vector` as it travels in this type, and such bytes as a vector.
std::vector<std::byte> ToWire(v1::DataType type, const Vector& vector);
Vector FromWire(v1::DataType type, absl::Span<const std::byte> bytes);

// One worker: a stream, and what it sends on it, narrowed to the session's
// gradient_type.
class Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> Join(SessionRegistry* registry,
                                                      const v1::Join& join);

  // The pieces of a step.
  v1::StepHeader Header(uint64_t step, const Vectors& vectors) const;
  absl::Status Send(const v1::StepHeader& header, const Vectors& vectors,
                    size_t chunk_bytes = 3001);
  absl::StatusOr<Answer> Finish();
  // All of them.
  absl::StatusOr<Answer> Step(uint64_t step, const Vectors& vectors);
  // Waits for the bytes and the trailer, and checks the checksum.
  static absl::StatusOr<Answer> Collect(const StepReply& reply);

  RankStream& stream() { return *stream_; }
  bool cancelled() const { return cancelled_->HasBeenNotified(); }
  void WaitUntilCancelled() const { cancelled_->WaitForNotification(); }

 private:
  std::shared_ptr<absl::Notification> cancelled_;
  std::unique_ptr<RankStream> stream_;
};

// A worker's Finish on a thread of its own, which is known to wait for the
// other ranks once the constructor returns.
class Waiting {
 public:
  explicit Waiting(Worker* worker);
  ~Waiting();
  void Cancel() { cancelled_ = true; }
  absl::StatusOr<Answer> Get();  // Once.

 private:
  std::atomic<bool> cancelled_{false};
  absl::Notification waits_;
  absl::StatusOr<Answer> answer_;
  std::thread thread_;
};

// A server without RPCs.
class Harness {
 public:
  explicit Harness(Limits limits = {});
  // On another device than the cpu.
  explicit Harness(std::shared_ptr<Kernels> kernels);
  // With a state directory, which outlives it: sessions' steps are kept.
  explicit Harness(const StateDirectory* storage, PhaseHook phase = nullptr,
                   std::function<void(const std::string&, const absl::Status&)>
                       on_checkpoint = nullptr,
                   std::shared_ptr<Kernels> kernels = MakeCpuKernels(2));

  // A session of kLosses losses, by default one rank per loss.
  static v1::Session Options(size_t n, uint32_t workers = kLosses);
  std::string Create(const std::string& id, const v1::Session& options);

  // Aborts the test where the join is refused.
  std::unique_ptr<Worker> Join(const std::string& name, uint32_t rank,
                               uint64_t incarnation = 0);
  static v1::Join JoinMessage(const std::string& name, uint32_t rank,
                              uint64_t incarnation);

  // All ranks take `step`, rank i with loss i, in the given order of arrival.
  // Aborts the test unless it succeeds.
  Answer StepAll(std::vector<std::unique_ptr<Worker>>* workers, uint64_t step,
                 std::vector<uint32_t> order = {0, 1, 2});
  std::vector<std::unique_ptr<Worker>> JoinAll(const std::string& name);

  FakeClock clock;
  SessionRegistry registry;
};

std::string Reason(const absl::Status& status);
std::string Metadata(const absl::Status& status, const std::string& key);

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_SESSION_SESSION_HARNESS_H_
