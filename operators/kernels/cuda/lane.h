// What one call on a device uses for itself: a stream, and memory beside it
// that both sides see.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_LANE_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_LANE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace concord::cuda {

// Page-locked memory of the host, or memory of a device, that grows as asked.
class Buffer {
 public:
  enum class Place { kHost, kDevice };
  explicit Buffer(Place place) : place_(place) {}
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // At least `bytes`; what was in it may be lost.
  absl::StatusOr<void*> Reserve(size_t bytes);

 private:
  void Free();

  const Place place_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Used by one thread at a time, with its device the current one.
class Lane {
 public:
  static absl::StatusOr<std::unique_ptr<Lane>> Create();
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  cudaStream_t stream() const { return stream_; }

  // Room for `count` dot products on the device.
  absl::StatusOr<double*> Dots(size_t count);
  // Brings them to `to`, and waits for everything on the stream.
  absl::Status FetchDots(double* to, size_t count);

  // `rows` (bytes) on the device until the next call.
  absl::StatusOr<const void*> Upload(const void* rows, size_t bytes);

  // Between the device and memory of the host, through two page-locked buffers
  // in turn: one is filled while the other one is under way. Page-locked memory
  // goes as it is. Returns when the bytes are there.
  absl::Status CopyIn(void* to, const void* from, size_t bytes);
  absl::Status CopyOut(void* to, const void* from, size_t bytes);

  absl::Status Wait();

 private:
  static constexpr int kTurns = 2;
  static constexpr size_t kPieceBytes = size_t{2} << 20;

  Lane() = default;
  absl::StatusOr<std::byte*> Piece(int turn, size_t bytes);

  cudaStream_t stream_ = nullptr;
  cudaEvent_t moved_[kTurns] = {};
  Buffer dots_{Buffer::Place::kDevice}, host_dots_{Buffer::Place::kHost};
  Buffer rows_{Buffer::Place::kDevice}, host_rows_{Buffer::Place::kHost};
  Buffer pieces_[kTurns] = {Buffer(Buffer::Place::kHost),
                            Buffer(Buffer::Place::kHost)};
};

// Lanes of one device, as many as calls run at once. Threads: any.
class Lanes {
 public:
  // Goes back when the handle goes.
  class Handle {
   public:
    Handle(Lanes* lanes, std::unique_ptr<Lane> lane)
        : lanes_(lanes), lane_(std::move(lane)) {}
    ~Handle() {
      if (lane_ != nullptr) lanes_->GiveBack(std::move(lane_));
    }
    Handle(Handle&&) = default;
    Handle& operator=(Handle&&) = delete;
    Lane& operator*() const { return *lane_; }

   private:
    Lanes* lanes_;
    std::unique_ptr<Lane> lane_;
  };

  absl::StatusOr<Handle> Take();

 private:
  void GiveBack(std::unique_ptr<Lane> lane);

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Lane>> spare_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_LANE_H_
