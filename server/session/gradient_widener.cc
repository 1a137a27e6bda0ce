#include "server/session/gradient_widener.h"

namespace concord {
namespace {

// 16 KiB of fp32: what is widened stays in the first level cache until it has
// gone to its place.
constexpr size_t kElements = 4096;

}  // namespace

GradientWidener::GradientWidener(HalfType type)
    : type_(type), reader_(type), wide_(kElements) {}

void GradientWidener::Restart() { reader_ = HalfReader(type_); }

absl::Status GradientWidener::Widen(
    absl::Span<const std::byte> bytes,
    absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> take) {
  // With the byte of an element begun before, that many at most.
  constexpr size_t kMost = kElements * kHalfBytes - 1;
  while (!bytes.empty()) {
    const absl::Span<const std::byte> part = bytes.subspan(0, kMost);
    const size_t count = reader_.Read(part, wide_.data());
    bytes.remove_prefix(part.size());
    if (count == 0) continue;
    const absl::Status status =
        take({reinterpret_cast<const std::byte*>(wide_.data()),
              count * sizeof(float)});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace concord
