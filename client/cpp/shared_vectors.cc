#include "client/cpp/shared_vectors.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace concord {

std::optional<SharedVectors::Own> SharedVectors::Add(size_t bytes,
                                                     const Limit& limit) {
  absl::StatusOr<local::MemoryRegion> region =
      local::MemoryRegion::Create(bytes);
  if (!region.ok()) return std::nullopt;
  const uint32_t number = stream_->Pass(*region, limit);
  if (number == 0) return std::nullopt;
  return Own{*std::move(region), number};
}

std::optional<SharedVectors::Place> SharedVectors::Find(Lent* lent,
                                                        const void* memory,
                                                        const Limit& limit) {
  if (lent->pool == nullptr) return std::nullopt;
  const std::optional<SharedPool::Found> found = lent->pool->Find(memory);
  if (!found.has_value()) return std::nullopt;
  const auto [known, is_new] = lent->passed.try_emplace(found->id, 0);
  if (is_new) known->second = stream_->Pass(*found->region, limit);
  if (known->second == 0) return std::nullopt;
  return Place{found->region->bytes(), known->second};
}

bool SharedVectors::Reserve(absl::Span<const void* const> vectors,
                            const void* update, const Limit& limit) {
  step_vectors_.clear();
  update_.reset();
  if (refused_) return false;
  size_t own = 0;
  for (const void* const vector : vectors) {
    std::optional<Place> place = Find(&gradients_, vector, limit);
    if (!place.has_value()) {
      if (own == own_vectors_.size()) {
        std::optional<Own> added = Add(vector_bytes_, limit);
        refused_ = !added.has_value();
        if (refused_) return false;
        own_vectors_.push_back(*std::move(added));
      }
      const Own& kept = own_vectors_[own++];
      place = Place{kept.region.bytes(), kept.number};
    }
    step_vectors_.push_back(*place);
  }
  update_ = Find(&updates_, update, limit);
  if (!update_.has_value()) {
    if (!own_update_.has_value()) own_update_ = Add(update_bytes_, limit);
    refused_ = !own_update_.has_value();
    if (refused_) return false;
    update_ = Place{own_update_->region.bytes(), own_update_->number};
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
  if (!update_.has_value() || begin > update_bytes_ ||
      size > update_bytes_ - begin) {
    return absl::DataLossError(
        absl::StrCat("the server wrote ", size, " shared bytes at offset ",
                     begin, " of an update of ", update_bytes_));
  }
  const wire::Fragment part = update_->bytes.subspan(begin, size);
  *data = wire::Payload({wire::BorrowSlice(part)}, 0, size);
  return absl::OkStatus();
}

void SharedVectors::SetPlaces(v1::StepHeader* header) const {
  header->mutable_update_place()->set_region(update_->number);
  for (int i = 0; i < header->vectors_size(); ++i) {
    header->mutable_vectors(i)->mutable_place()->set_region(
        step_vectors_[i].number);
  }
}

}  // namespace concord
