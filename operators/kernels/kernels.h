// The passes over vectors, on one device.
//
// A Kernels object is a backend: `cpu` is built in (cpu_kernels.h), `cuda` and
// `torch` are modules loaded when asked for (device_kernels.h). All pointers
// handed to one are addresses on its device unless said otherwise; vectors hold
// elements of one Dtype. Backends keep no state of any session.
//
// Vectors are processed in blocks of block_elements() elements; a block always
// begins at a multiple of that size in its vector. Dot products are summed
// inside a block in an order that the backend fixes, and the caller sums the
// blocks in index order: on the cpu backend results are the same bits whatever
// the number of threads, the instruction set and the ranges of the calls, and
// the cuda backend's are the cpu's.
//
// Threads: all functions may be called from several threads at once, on ranges
// that do not overlap in what they write. Long ranges are spread over the
// backend's threads.
//
// Errors: INTERNAL or RESOURCE_EXHAUSTED with the device's own message; no
// exception leaves a backend.
#ifndef CONCORD_OPERATORS_KERNELS_KERNELS_H_
#define CONCORD_OPERATORS_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "operators/dtype.h"
#include "operators/kernels/column_rule.h"
#include "operators/kernels/half_types.h"

namespace concord {

// Zeroed memory on a backend's device, freed with the object. The backend must
// outlive it.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void* data() const = 0;
  virtual size_t size() const = 0;  // Bytes.
};

// Pass 1 over `count` elements that begin at a block's begin:
//   staged = beta_1 * momentum + (1 - beta_1) * gradient   (momentum != null)
//   staged = gradient                                      (momentum == null)
// computed in fp64 and rounded once to the vectors' type, then with the stored,
// rounded values and for every block b of the range
//   dots[b * (rows.size() + 1)]         = sum staged^2
//   dots[b * (rows.size() + 1) + 1 + j] = sum staged * rows[j]
// in fp64. `gradient` may be `staged` itself (in place). With staged == null
// nothing is written and `gradient` takes its place in the dots. With a
// momentum every element of `gradient` is read once, whoever else may write to
// it meanwhile.
//
// A gradient of `gradient_type`, beside vectors of fp32, is widened as it is
// read: the results are those of the widened gradient. It needs a `staged`.
struct IngestPass {
  Dtype dtype = Dtype::kFloat32;
  size_t count = 0;
  double beta_1 = 0;
  const void* gradient = nullptr;
  std::optional<HalfType> gradient_type;  // Not set: the vectors' own.
  const void* momentum = nullptr;
  void* staged = nullptr;
  absl::Span<const void* const> rows;
  double* dots = nullptr;  // Host memory, ceil(count / block) * (rows + 1).
};

// Pass 2 over `count` elements that begin at a block's begin:
//   r      = sum_j direction[j] * rows[j]
//   pseudo = sum_j pseudo[j] * rows[j] + sum_p previous[p] * previous_rows[p]
//   second = second + (1 - beta_2) * (pseudo^2 - second)    (update_second;
//   into
//                                               new_second where that is not
//                                               null)
//   update = r / (sqrt(second * correction) + epsilon)
// The sums r and pseudo are computed in fp64 and rounded once (in the first
// live steps the update is their quotient, element by element, however small
// they are); all else in the vectors' type, from the second momentum as stored.
// Without second momentum (second == null) update = r, which may be written
// over one of the rows. Where asked for
// (update_dots != null), for every block b
//   update_dots[b * (rows.size() + 1)]         = sum update^2
//   update_dots[b * (rows.size() + 1) + 1 + j] = sum update * rows[j]
struct CommitPass {
  Dtype dtype = Dtype::kFloat32;
  size_t count = 0;
  absl::Span<const void* const> rows;
  absl::Span<const double> direction;
  absl::Span<const double> pseudo;
  absl::Span<const void* const> previous_rows;
  absl::Span<const double> previous;
  void* second = nullptr;
  void* new_second = nullptr;  // Null: in place.
  bool update_second = false;  // False: recompute a committed update.
  double beta_2 = 0;
  double correction = 1;  // 1 / (1 - beta_2^t)
  double epsilon = 1e-8;
  void* update = nullptr;
  double* update_dots = nullptr;  // Host memory.
};

// First and second momentum of one loss, and its rescaled momentum, over
// `count` elements. With a gradient the momenta are moved on first:
//   momentum' = beta_1 momentum + (1 - beta_1) gradient     (in fp64)
//   second'   = second + (1 - beta_2) (gradient^2 - second)
// (`gradient` may be `new_momentum` itself), without one they are read as they
// are. From the stored numbers
//   rescaled = (momentum' scale) / (sqrt(second' second_scale) + epsilon)
struct SeparatePass {
  Dtype dtype = Dtype::kFloat32;
  size_t count = 0;
  const void* gradient = nullptr;
  const void* momentum = nullptr;
  const void* second = nullptr;
  void* new_momentum = nullptr;  // With a gradient.
  void* new_second = nullptr;
  double beta_1 = 0;
  double beta_2 = 0;
  double scale = 1;         // 1 / (1 - beta_1^t)
  double second_scale = 1;  // 1 / (1 - beta_2^t)
  double epsilon = 1e-8;
  void* rescaled = nullptr;
};

// A direction by a rule on columns (column_rule.h), `count` elements of it that
// begin at element `first` of the vectors:
//   direction[e] = rule(scales[0] rows[0][e], scales[1] rows[1][e], …)
// in fp64, rounded once.
struct ColumnPass {
  Dtype dtype = Dtype::kFloat32;
  size_t first = 0;
  size_t count = 0;
  absl::Span<const void* const> rows;
  absl::Span<const double> scales;
  const ColumnRule* rule = nullptr;
  void* direction = nullptr;
};

// What a device has, whoever uses it; zeros: not known.
struct MemoryInfo {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

class Kernels {
 public:
  virtual ~Kernels() = default;

  virtual std::string device() const = 0;  // "cpu", "torch:cpu", "cuda:0".
  // Which backend it is: "cpu", "cuda", "torch".
  virtual std::string backend() const = 0;
  virtual int threads() const = 0;
  virtual size_t block_elements() const = 0;
  // Elements, whole blocks of them, that keep a device busy for longer than it
  // takes to begin a pass: shorter ones leave it idle. Of devices that the host
  // cannot access.
  virtual size_t pass_elements() const { return block_elements(); }
  // Whether host pointers are valid device pointers: then the caller may use
  // memory where it lies and the copies below are plain memcpys.
  virtual bool host_accessible() const = 0;
  // The device's memory now.
  virtual MemoryInfo memory() const { return {}; }

  virtual absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) = 0;
  virtual absl::Status CopyFromHost(void* to, const void* from,
                                    size_t bytes) = 0;
  virtual absl::Status CopyToHost(void* to, const void* from, size_t bytes) = 0;
  virtual absl::Status CopyOnDevice(void* to, const void* from,
                                    size_t bytes) = 0;

  virtual absl::Status Ingest(const IngestPass& pass) = 0;
  virtual absl::Status Commit(const CommitPass& pass) = 0;
  virtual absl::Status Separate(const SeparatePass& pass) = 0;
  virtual absl::Status CombineColumns(const ColumnPass& pass) = 0;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_KERNELS_H_
