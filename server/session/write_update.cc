#include "server/session/write_update.h"

#include "absl/types/span.h"
#include "proto/wire/checksum.h"
#include "server/session/committer.h"

namespace concord {

absl::StatusOr<uint64_t> WriteUpdate(MomentumOperator* op, Kernels* kernels,
                                     DeviceMemory* device_update,
                                     Update* update,
                                     absl::FunctionRef<void()> on_block) {
  const size_t element = SizeOf(op->options().dtype);
  std::byte* const host = update->buffer();
  void* const target = device_update != nullptr ? device_update->data() : host;
  const bool at_once = update->size_bytes() <= kInlineCommitBytes;
  wire::Checksum checksum;
  size_t done = 0;
  absl::Status copied;
  const absl::Status status =
      op->Commit(target, /*with_update_cosines=*/true, [&](size_t elements) {
        const size_t end = elements * element;
        if (device_update != nullptr && copied.ok()) {
          copied = kernels->CopyToHost(
              host + done, static_cast<std::byte*>(target) + done, end - done);
        }
        checksum.Add(absl::MakeConstSpan(host + done, end - done));
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
                                       Update* update) {
  absl::Status status = op.Recompute(
      device_update != nullptr ? device_update->data() : update->buffer());
  if (status.ok() && device_update != nullptr) {
    status = kernels->CopyToHost(update->buffer(), device_update->data(),
                                 update->size_bytes());
  }
  if (!status.ok()) return status;
  return wire::ChecksumOf(
      absl::MakeConstSpan(update->buffer(), update->size_bytes()));
}

}  // namespace concord
