// Gradients that arrive in 16 bits, as the fp32 vectors that sessions work
// with.
#ifndef CONCORD_SERVER_SESSION_GRADIENT_WIDENER_H_
#define CONCORD_SERVER_SESSION_GRADIENT_WIDENER_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "operators/kernels/half_types.h"

namespace concord {

// One stream's. Threads: one at a time.
class GradientWidener {
 public:
  explicit GradientWidener(HalfType type);

  // What comes next begins a vector.
  void Restart();

  // Hands the next bytes' elements to `take`, as bytes of fp32, a few at a time
  // so that they are still in the cache when it reads them. Bytes may end
  // inside an element, which is then handed on with the rest of it.
  absl::Status Widen(
      absl::Span<const std::byte> bytes,
      absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> take);

 private:
  const HalfType type_;
  HalfReader reader_;
  std::vector<float> wide_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_GRADIENT_WIDENER_H_
