// The commit's pass over whole vectors, in ranges: for operators whose rows are
// the vectors they store, and for those whose rows or direction are made on the
// way. The latter are made a few blocks at a time in scratch memory that stays
// in the cache, so that every stored vector is still read once.
#ifndef CONCORD_OPERATORS_MOMENTUM_ROW_PASSES_H_
#define CONCORD_OPERATORS_MOMENTUM_ROW_PASSES_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "operators/dtype.h"
#include "operators/kernels/kernels.h"

namespace concord {

// A row that is a stored first momentum rescaled by a stored second one, see
// SeparatePass.
struct Rescaling {
  const void* second = nullptr;
  double scale = 0;
  double second_scale = 0;
};

// The vectors that an operator has stored for its rows; with rescalings the
// rows are made from both.
struct StoredRows {
  absl::Span<const void* const> vectors;
  absl::Span<const Rescaling> rescalings;
};

inline constexpr double kEpsilon = 1e-8;

// `bytes` further in a vector; null stays null.
inline const void* Advance(const void* vector, size_t bytes) {
  return vector == nullptr ? nullptr
                           : static_cast<const std::byte*>(vector) + bytes;
}
inline void* Advance(void* vector, size_t bytes) {
  return vector == nullptr ? nullptr : static_cast<std::byte*>(vector) + bytes;
}

// What a commit does; all pointers are to whole vectors.
struct UpdatePass {
  // With `rule`, `direction` and `pseudo` have one number each, for the
  // direction that the rule makes of the rows.
  CommitPass commit;
  absl::Span<const Rescaling> rescalings;  // Of commit.rows, or empty.
  const ColumnRule* rule = nullptr;
  absl::Span<const double> scales;  // Of the rows in the rule.
  // Which of the step's rows commit.rows are; empty: all, in order.
  absl::Span<const int> positions;
  // Where the rule's direction is kept, or null. What it was before may be one
  // of commit.previous_rows.
  void* kept_direction = nullptr;
};

// [0]: with itself; [1 + i]: with row i.
struct UpdateDots {
  std::vector<double> update;
  std::vector<double> direction;  // With a rule only.
};

class RowPasses {
 public:
  // `num_rows`: the most rows of a pass.
  RowPasses(Dtype dtype, size_t num_parameters, int num_rows, Kernels* kernels);

  // The memory that passes with rescalings or a rule need; small.
  absl::Status AllocateScratch();

  // Runs the pass. `dots` may be null. `progress(elements)` is called whenever
  // the update's first `elements` elements are final.
  absl::Status Run(const UpdatePass& pass, UpdateDots* dots,
                   absl::FunctionRef<void(size_t)> progress) const;

  // Elements that are worked on together in scratch memory.
  static size_t ScratchElements(const Kernels& kernels);

 private:
  struct Range {
    size_t begin = 0;
    size_t count = 0;
  };
  absl::Status RunPlain(const UpdatePass& pass, Range range, double* partial,
                        UpdateDots* dots) const;
  absl::Status RunMade(const UpdatePass& pass, Range range, double* partial,
                       UpdateDots* dots) const;
  void* Scratch(size_t row) const;
  void Add(const double* partial, size_t count, size_t width,
           std::vector<double>* dots) const;

  const Dtype dtype_;
  const size_t num_parameters_;
  const int num_rows_;
  Kernels* const kernels_;
  std::unique_ptr<DeviceMemory> scratch_;  // Rows, then the direction.
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_ROW_PASSES_H_
