#include "client/cpp/shared_vectors.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace concord {

bool SharedVectors::Add(size_t bytes, const Limit& limit) {
  absl::StatusOr<local::MemoryRegion> region =
      local::MemoryRegion::Create(bytes);
  if (!region.ok()) return false;
  const uint32_t number = stream_->Pass(*region, limit);
  if (number == 0) return false;
  places_.push_back({*std::move(region), number});
  return true;
}

bool SharedVectors::Reserve(size_t count, const Limit& limit) {
  while (!refused_ && places_.size() < 1 + count) {
    refused_ = !Add(places_.empty() ? update_bytes_ : vector_bytes_, limit);
  }
  return !refused_;
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
  if (places_.empty() || begin > update_bytes_ ||
      size > update_bytes_ - begin) {
    return absl::DataLossError(
        absl::StrCat("the server wrote ", size, " shared bytes at offset ",
                     begin, " of an update of ", update_bytes_));
  }
  const wire::Fragment part = places_[0].region.bytes().subspan(begin, size);
  *data = wire::Payload({wire::BorrowSlice(part)}, 0, size);
  return absl::OkStatus();
}

void SharedVectors::SetPlaces(v1::StepHeader* header) const {
  header->mutable_update_place()->set_region(places_[0].number);
  for (int i = 0; i < header->vectors_size(); ++i) {
    header->mutable_vectors(i)->mutable_place()->set_region(
        places_[1 + i].number);
  }
}

}  // namespace concord
