// The update of one step: written once, block by block, and read by any number
// of senders while it is written.
//
// An Update is shared (shared_ptr); a sender keeps the one it sends for as long
// as it likes, the next step is committed into another. Where its last reader
// lets it go, its memory returns to the UpdatePool that it came from, which
// keeps one spare: a session in steady state allocates nothing, and one with a
// laggard has one update more, never a commit that waits for a reader.
//
//   writer (a commit):  buffer(), Publish()..., then Complete() or Fail()
//   reader (a sender):  Wait(end) -> bytes [0, end) are final; WaitForTrailer()
//
// Threads: one writer; readers from any thread.
#ifndef CONCORD_SERVER_SESSION_UPDATE_H_
#define CONCORD_SERVER_SESSION_UPDATE_H_

#include <atomic>
#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "concord/v1/step.pb.h"
#include "operators/kernels/vector_memory.h"

namespace concord {

class Update {
 public:
  Update(std::unique_ptr<VectorMemory> memory, size_t size_bytes);
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

  size_t size_bytes() const { return size_bytes_; }

  // Host memory. Only the bytes that Wait() has reported may be read.
  const std::byte* data() const {
    return static_cast<const std::byte*>(memory_->data());
  }

  // ---- Readers ----

  // How many bytes from the begin are final now.
  size_t final_bytes() const {
    return final_bytes_.load(std::memory_order_acquire);
  }

  // Blocks until the first `end_bytes` bytes are final. CANCELLED when
  // `is_cancelled` says so (asked now and then while waiting), else the error
  // that ended the commit. No lock is taken where the bytes are there already.
  absl::Status Wait(size_t end_bytes,
                    absl::FunctionRef<bool()> is_cancelled) const;

  // Blocks until the step is committed. The trailer has everything but the
  // timings of a rank (receive, wait). Valid as long as the Update.
  absl::StatusOr<const v1::StepTrailer*> WaitForTrailer(
      absl::FunctionRef<bool()> is_cancelled) const;

  // ---- The writer ----

  std::byte* buffer() { return static_cast<std::byte*>(memory_->data()); }

  // The first `final_bytes` bytes are final; wakes readers that wait for them.
  void Publish(size_t final_bytes);

  // The step is committed; all bytes are final.
  void Complete(v1::StepTrailer trailer);

  // The commit failed with `error`.
  void Fail(absl::Status error);

 private:
  friend class UpdatePool;

  // Makes a used Update new.
  void Clear();
  absl::Status Await(absl::FunctionRef<bool()> is_cancelled,
                     absl::FunctionRef<bool()> is_there) const;

  const std::unique_ptr<VectorMemory> memory_;
  const size_t size_bytes_;
  std::atomic<size_t> final_bytes_{0};
  std::atomic<bool> complete_{false};

  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  v1::StepTrailer trailer_;  // Written before complete_, then never again.
};

// Updates of one size. Threads: safe.
class UpdatePool : public std::enable_shared_from_this<UpdatePool> {
 public:
  static std::shared_ptr<UpdatePool> Make(size_t size_bytes);

  // An empty Update: the spare one, or new memory. RESOURCE_EXHAUSTED when the
  // system has none.
  absl::StatusOr<std::shared_ptr<Update>> Acquire();

  // The system allocations made so far; for tests.
  int allocations() const;

 private:
  explicit UpdatePool(size_t size_bytes) : size_bytes_(size_bytes) {}
  void Return(Update* update);

  const size_t size_bytes_;
  mutable absl::Mutex mutex_;
  std::unique_ptr<Update> spare_ ABSL_GUARDED_BY(mutex_);
  int allocations_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_UPDATE_H_
