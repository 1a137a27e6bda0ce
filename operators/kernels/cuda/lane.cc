#include "operators/kernels/cuda/lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "operators/kernels/cuda/device_error.h"

namespace concord::cuda {
namespace {

// Whether the device reaches it without the driver's help.
bool IsPageLocked(const void* host) {
  cudaPointerAttributes attributes;
  if (cudaPointerGetAttributes(&attributes, host) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeHost;
}

}  // namespace

Buffer::~Buffer() { Free(); }

void Buffer::Free() {
  if (data_ == nullptr) return;
  place_ == Place::kHost ? cudaFreeHost(data_) : cudaFree(data_);
  data_ = nullptr;
  bytes_ = 0;
}

absl::StatusOr<void*> Buffer::Reserve(size_t bytes) {
  if (bytes <= bytes_) return data_;
  Free();
  const absl::Status status =
      place_ == Place::kHost
          ? ToStatus(cudaMallocHost(&data_, bytes), "page-locked memory")
          : ToStatus(cudaMalloc(&data_, bytes), "device memory");
  if (!status.ok()) {
    data_ = nullptr;
    return status;
  }
  bytes_ = bytes;
  return data_;
}

absl::StatusOr<std::unique_ptr<Lane>> Lane::Create() {
  std::unique_ptr<Lane> lane(new Lane);
  absl::Status status =
      ToStatus(cudaStreamCreateWithFlags(&lane->stream_, cudaStreamNonBlocking),
               "a stream");
  for (cudaEvent_t& moved : lane->moved_) {
    if (!status.ok()) return status;
    status = ToStatus(cudaEventCreateWithFlags(&moved, cudaEventDisableTiming),
                      "an event");
  }
  if (!status.ok()) return status;
  return lane;
}

Lane::~Lane() {
  for (const cudaEvent_t moved : moved_) {
    if (moved != nullptr) cudaEventDestroy(moved);
  }
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

absl::Status Lane::Wait() {
  return ToStatus(cudaStreamSynchronize(stream_), "a pass");
}

absl::StatusOr<double*> Lane::Dots(size_t count) {
  const absl::StatusOr<void*> memory = dots_.Reserve(count * sizeof(double));
  if (!memory.ok()) return memory.status();
  return static_cast<double*>(*memory);
}

absl::Status Lane::FetchDots(double* to, size_t count) {
  const size_t bytes = count * sizeof(double);
  const absl::StatusOr<double*> from = Dots(count);
  const absl::StatusOr<void*> landing = host_dots_.Reserve(bytes);
  if (!from.ok()) return from.status();
  if (!landing.ok()) return landing.status();
  absl::Status status = ToStatus(
      cudaMemcpyAsync(*landing, *from, bytes, cudaMemcpyDeviceToHost, stream_),
      "dot products");
  if (status.ok()) status = Wait();
  if (status.ok()) std::memcpy(to, *landing, bytes);
  return status;
}

absl::StatusOr<const void*> Lane::Upload(const void* rows, size_t bytes) {
  const absl::StatusOr<void*> host = host_rows_.Reserve(bytes);
  const absl::StatusOr<void*> there = rows_.Reserve(bytes);
  if (!host.ok()) return host.status();
  if (!there.ok()) return there.status();
  std::memcpy(*host, rows, bytes);
  const absl::Status status = ToStatus(
      cudaMemcpyAsync(*there, *host, bytes, cudaMemcpyHostToDevice, stream_),
      "a table of rows");
  if (!status.ok()) return status;
  return *there;
}

absl::StatusOr<std::byte*> Lane::Piece(int turn, size_t bytes) {
  const absl::StatusOr<void*> memory = pieces_[turn].Reserve(bytes);
  if (!memory.ok()) return memory.status();
  return static_cast<std::byte*>(*memory);
}

absl::Status Lane::CopyIn(void* to, const void* from, size_t bytes) {
  auto* const target = static_cast<std::byte*>(to);
  const auto* const source = static_cast<const std::byte*>(from);
  constexpr char kWhat[] = "a copy to the device";
  if (IsPageLocked(from)) {
    const absl::Status status = ToStatus(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_),
        kWhat);
    return status.ok() ? Wait() : status;
  }
  absl::Status status;
  const size_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes;
  for (size_t p = 0; p < pieces && status.ok(); ++p) {
    const int turn = static_cast<int>(p % kTurns);
    const size_t begin = p * kPieceBytes;
    const size_t size = std::min(kPieceBytes, bytes - begin);
    const absl::StatusOr<std::byte*> piece =
        Piece(turn, std::min(kPieceBytes, bytes));
    if (!piece.ok()) {
      status = piece.status();
      break;
    }
    if (p >= kTurns)
      status = ToStatus(cudaEventSynchronize(moved_[turn]), kWhat);
    if (!status.ok()) break;
    std::memcpy(*piece, source + begin, size);
    status = ToStatus(cudaMemcpyAsync(target + begin, *piece, size,
                                      cudaMemcpyHostToDevice, stream_),
                      kWhat);
    if (status.ok()) {
      status = ToStatus(cudaEventRecord(moved_[turn], stream_), kWhat);
    }
  }
  // The buffers are free for the next call only then, also after an error.
  const absl::Status waited = Wait();
  return status.ok() ? waited : status;
}

absl::Status Lane::CopyOut(void* to, const void* from, size_t bytes) {
  auto* const target = static_cast<std::byte*>(to);
  const auto* const source = static_cast<const std::byte*>(from);
  constexpr char kWhat[] = "a copy from the device";
  if (IsPageLocked(to)) {
    const absl::Status status = ToStatus(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
        kWhat);
    return status.ok() ? Wait() : status;
  }
  absl::Status status;
  const size_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes;
  // Piece p is put under way before piece p - 1 is taken from its buffer.
  for (size_t p = 0; p <= pieces && status.ok(); ++p) {
    if (p < pieces) {
      const int turn = static_cast<int>(p % kTurns);
      const size_t begin = p * kPieceBytes;
      const absl::StatusOr<std::byte*> piece =
          Piece(turn, std::min(kPieceBytes, bytes));
      if (!piece.ok()) {
        status = piece.status();
        break;
      }
      status = ToStatus(cudaMemcpyAsync(*piece, source + begin,
                                        std::min(kPieceBytes, bytes - begin),
                                        cudaMemcpyDeviceToHost, stream_),
                        kWhat);
      if (status.ok()) {
        status = ToStatus(cudaEventRecord(moved_[turn], stream_), kWhat);
      }
    }
    if (p == 0 || !status.ok()) continue;
    const int turn = static_cast<int>((p - 1) % kTurns);
    const size_t begin = (p - 1) * kPieceBytes;
    status = ToStatus(cudaEventSynchronize(moved_[turn]), kWhat);
    const absl::StatusOr<std::byte*> piece = Piece(turn, 0);
    if (!piece.ok()) status = piece.status();
    if (!status.ok()) break;
    std::memcpy(target + begin, *piece, std::min(kPieceBytes, bytes - begin));
  }
  const absl::Status waited = Wait();
  return status.ok() ? waited : status;
}

absl::StatusOr<Lanes::Handle> Lanes::Take() {
  {
    absl::MutexLock lock(&mutex_);
    if (!spare_.empty()) {
      std::unique_ptr<Lane> lane = std::move(spare_.back());
      spare_.pop_back();
      return Handle(this, std::move(lane));
    }
  }
  absl::StatusOr<std::unique_ptr<Lane>> lane = Lane::Create();
  if (!lane.ok()) return lane.status();
  return Handle(this, *std::move(lane));
}

void Lanes::GiveBack(std::unique_ptr<Lane> lane) {
  absl::MutexLock lock(&mutex_);
  spare_.push_back(std::move(lane));
}

}  // namespace concord::cuda
