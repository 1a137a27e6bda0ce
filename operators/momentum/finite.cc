#include "operators/momentum/finite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

template <class T>
size_t FirstNonFinite(const std::vector<std::byte>& bytes) {
  const size_t count = bytes.size() / sizeof(T);
  for (size_t e = 0; e < count; ++e) {
    T value;
    std::memcpy(&value, bytes.data() + e * sizeof(T), sizeof(T));
    if (!std::isfinite(value)) return e;
  }
  return count;
}

}  // namespace

absl::Status CheckFinite(const VectorOfLoss& vector,
                         absl::Span<const double> squares, Kernels* kernels) {
  double sum = 0;
  for (const double part : squares) sum += part;
  if (std::isfinite(sum)) return absl::OkStatus();
  // Rare: find the element that is to blame.
  const size_t element_bytes = SizeOf(vector.dtype);
  const size_t block_bytes = kernels->block_elements() * element_bytes;
  std::vector<std::byte> block;
  for (size_t b = 0; b < squares.size(); ++b) {
    if (std::isfinite(squares[b])) continue;
    const size_t offset = b * block_bytes;
    block.resize(
        std::min(block_bytes, vector.num_parameters * element_bytes - offset));
    const absl::Status status = kernels->CopyToHost(
        block.data(), static_cast<const std::byte*>(vector.data) + offset,
        block.size());
    if (!status.ok()) return status;
    const size_t e = vector.dtype == Dtype::kFloat32
                         ? FirstNonFinite<float>(block)
                         : FirstNonFinite<double>(block);
    const size_t element = offset / element_bytes + e;
    if (e < block.size() / element_bytes) {
      return MakeError(
          absl::StatusCode::kInvalidArgument,
          {"NON_FINITE",
           absl::StrCat("vector ", vector.index, "[", element, "]"),
           "NaN or Inf",
           "finite numbers",
           {{"index", absl::StrCat(vector.index)},
            {"element", absl::StrCat(element)}}});
    }
  }
  return InvalidField("OUT_OF_SCALE", absl::StrCat("vector ", vector.index),
                      "a sum of squares that is not finite",
                      "numbers whose squares can be summed in float64");
}

}  // namespace concord
