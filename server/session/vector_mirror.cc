#include "server/session/vector_mirror.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace concord {

VectorMirror::VectorMirror(std::shared_ptr<Kernels> kernels,
                           std::shared_ptr<VectorSource> device,
                           std::shared_ptr<StateFile> file,
                           absl::Span<const uint32_t> stored)
    : kernels_(std::move(kernels)),
      device_(std::move(device)),
      file_(std::move(file)),
      kept_(stored.begin(), stored.end()) {}

absl::Status VectorMirror::Keep(absl::Span<const uint32_t> places) {
  absl::MutexLock lock(&mutex_);
  for (const uint32_t place : places) {
    if (kept_.contains(place)) continue;
    const auto pair = pairs_.find(place);
    if (pair == pairs_.end()) {
      return absl::InternalError(
          absl::StrCat("no vector is allocated at place ", place));
    }
    const absl::Status status =
        kernels_->CopyToHost(pair->second.host->data(), pair->second.device,
                             file_->shape().vector_bytes);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void VectorMirror::Kept(absl::Span<const uint32_t> places) {
  absl::MutexLock lock(&mutex_);
  kept_ = {places.begin(), places.end()};
}

absl::StatusOr<std::unique_ptr<DeviceMemory>> VectorMirror::Allocate(
    uint32_t place) {
  absl::StatusOr<std::unique_ptr<DeviceMemory>> host = file_->Allocate(place);
  if (!host.ok()) return host.status();
  absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
      device_->Allocate(place);
  if (!memory.ok()) return memory.status();
  absl::MutexLock lock(&mutex_);
  if (kept_.contains(place)) {
    const absl::Status status = kernels_->CopyFromHost(
        (*memory)->data(), (*host)->data(), file_->shape().vector_bytes);
    if (!status.ok()) return status;
  }
  pairs_[place] = {(*memory)->data(), *std::move(host)};
  return *std::move(memory);
}

void VectorMirror::Forget(uint32_t place) {
  {
    absl::MutexLock lock(&mutex_);
    pairs_.erase(place);
  }
  device_->Forget(place);
  file_->Forget(place);
}

}  // namespace concord
