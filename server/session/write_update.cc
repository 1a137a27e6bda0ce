#include "server/session/write_update.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "operators/momentum/row_passes.h"
#include "proto/wire/checksum.h"
#include "server/session/committer.h"

namespace concord {
namespace {

// Elements that come from a device and are rounded at a time.
constexpr size_t kStretch = 1 << 16;

// From where commits write to where senders read, a stretch of elements after
// the other.
class UpdateCopier {
 public:
  // `made`: null where commits write into the update itself.
  UpdateCopier(Kernels* kernels, const DeviceMemory* made,
               std::optional<HalfType> sent_as, size_t element, Update* update)
      : kernels_(kernels),
        made_(made),
        sent_as_(sent_as),
        element_(element),
        update_(update),
        fetched_(sent_as.has_value() && !kernels->host_accessible() ? kStretch
                                                                    : 0) {}

  // Where a commit writes.
  void* target() const {
    return made_ != nullptr ? made_->data() : update_->buffer();
  }

  size_t SentBytes(size_t elements) const {
    return elements * (sent_as_.has_value() ? kHalfBytes : element_);
  }

  // The first `end` elements are made; brings those that are not there yet.
  absl::Status CopyUpTo(size_t end) {
    absl::Status status;
    while (done_ < end && status.ok()) {
      const size_t count =
          fetched_.empty() ? end - done_ : std::min(kStretch, end - done_);
      status = Copy(count);
      done_ += count;
    }
    return status;
  }

 private:
  absl::Status Copy(size_t count) {
    if (made_ == nullptr) return absl::OkStatus();
    const void* from = Advance(target(), done_ * element_);
    std::byte* const to = update_->buffer() + SentBytes(done_);
    if (!sent_as_.has_value()) {
      return kernels_->CopyToHost(to, from, count * element_);
    }
    if (!fetched_.empty()) {
      const absl::Status status =
          kernels_->CopyToHost(fetched_.data(), from, count * element_);
      if (!status.ok()) return status;
      from = fetched_.data();
    }
    Narrow(*sent_as_, static_cast<const float*>(from), count, to);
    return absl::OkStatus();
  }

  Kernels* const kernels_;
  const DeviceMemory* const made_;
  const std::optional<HalfType> sent_as_;
  const size_t element_;
  Update* const update_;
  std::vector<float> fetched_;
  size_t done_ = 0;
};

}  // namespace

absl::StatusOr<uint64_t> WriteUpdate(MomentumOperator* op, Kernels* kernels,
                                     DeviceMemory* device_update,
                                     std::optional<HalfType> sent_as,
                                     bool with_update_cosines, Update* update,
                                     absl::FunctionRef<void()> on_block) {
  UpdateCopier copier(kernels, device_update, sent_as,
                      SizeOf(op->options().dtype), update);
  const bool at_once = update->size_bytes() <= kInlineCommitBytes;
  wire::Checksum checksum;
  size_t done = 0;
  absl::Status copied;
  const absl::Status status =
      op->Commit(copier.target(), with_update_cosines, [&](size_t elements) {
        const size_t end = copier.SentBytes(elements);
        if (copied.ok()) copied = copier.CopyUpTo(elements);
        checksum.Add(absl::MakeConstSpan(update->buffer() + done, end - done));
        done = end;
        if (!at_once && copied.ok()) update->Publish(end);
        on_block();
      });
  if (!status.ok()) return status;
  if (!copied.ok()) return copied;
  return checksum.Digest();
}

absl::StatusOr<uint64_t> RewriteUpdate(const MomentumOperator& op,
                                       Kernels* kernels,
                                       DeviceMemory* device_update,
                                       std::optional<HalfType> sent_as,
                                       Update* update) {
  UpdateCopier copier(kernels, device_update, sent_as,
                      SizeOf(op.options().dtype), update);
  absl::Status status = op.Recompute(copier.target());
  if (status.ok()) status = copier.CopyUpTo(op.options().num_parameters);
  if (!status.ok()) return status;
  return wire::ChecksumOf(
      absl::MakeConstSpan(update->buffer(), update->size_bytes()));
}

uint64_t WriteZeros(Update* update) {
  std::memset(update->buffer(), 0, update->size_bytes());
  return wire::ChecksumOf(
      absl::MakeConstSpan(update->buffer(), update->size_bytes()));
}

}  // namespace concord
