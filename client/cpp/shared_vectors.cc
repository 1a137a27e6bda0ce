#include "client/cpp/shared_vectors.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace concord {

std::optional<SharedVectors::Place> SharedVectors::Add(size_t bytes,
                                                       const Limit& limit) {
  absl::StatusOr<local::MemoryRegion> region =
      local::MemoryRegion::Create(bytes);
  if (!region.ok()) return std::nullopt;
  const uint32_t number = stream_->Pass(*region, limit);
  if (number == 0) return std::nullopt;
  return Place{*std::move(region), number};
}

uint32_t SharedVectors::Pass(const SharedResults::Found& update,
                             const Limit& limit) {
  const auto [known, is_new] = passed_.try_emplace(update.id, 0);
  if (is_new) known->second = stream_->Pass(*update.region, limit);
  return known->second;
}

bool SharedVectors::Reserve(size_t count, const void* update,
                            const Limit& limit) {
  while (!refused_ && vectors_.size() < count) {
    std::optional<Place> place = Add(vector_bytes_, limit);
    refused_ = !place.has_value();
    if (place.has_value()) vectors_.push_back(*std::move(place));
  }
  if (refused_) return false;
  update_number_ = 0;
  if (results_ != nullptr) {
    if (const auto found = results_->Find(update); found.has_value()) {
      update_number_ = Pass(*found, limit);
      update_ = found->region->bytes();
    }
  }
  if (update_number_ == 0) {
    if (!own_update_.has_value()) own_update_ = Add(update_bytes_, limit);
    refused_ = !own_update_.has_value();
    if (refused_) return false;
    update_number_ = own_update_->number;
    update_ = own_update_->region.bytes();
  }
  return true;
}

absl::Status SharedVectors::FindUpdate(const v1::StepResponse& message,
                                       wire::Payload* data) const {
  uint64_t begin = 0;
  uint64_t size = 0;
  if (message.has_chunk()) {
    begin = message.chunk().offset();
    size = message.chunk().shared_bytes();
  } else if (message.has_reply() && message.reply().is_shared()) {
    size = update_bytes_;
  }
  if (size == 0) return absl::OkStatus();
  if (update_.empty() || begin > update_bytes_ ||
      size > update_bytes_ - begin) {
    return absl::DataLossError(
        absl::StrCat("the server wrote ", size, " shared bytes at offset ",
                     begin, " of an update of ", update_bytes_));
  }
  const wire::Fragment part = update_.subspan(begin, size);
  *data = wire::Payload({wire::BorrowSlice(part)}, 0, size);
  return absl::OkStatus();
}

void SharedVectors::SetPlaces(v1::StepHeader* header) const {
  header->mutable_update_place()->set_region(update_number_);
  for (int i = 0; i < header->vectors_size(); ++i) {
    header->mutable_vectors(i)->mutable_place()->set_region(vectors_[i].number);
  }
}

}  // namespace concord
