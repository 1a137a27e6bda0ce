// The rows of a pass as a kernel's argument: a few in the argument itself, more
// in memory of the device.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_ROW_TABLE_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_ROW_TABLE_H_

#include "operators/kernels/cuda/portable.h"

namespace concord::cuda {

template <class Row>
struct RowTable {
  // Arguments take 4 KiB.
  static constexpr int kInline = static_cast<int>(3072 / sizeof(Row));

  int count = 0;
  const Row* more = nullptr;  // All of them, where there are more than kInline.
  Row rows[kInline];

  CONCORD_PORTABLE Row operator[](int j) const {
    return more != nullptr ? more[j] : rows[j];
  }
};

CONCORD_PORTABLE const void* AddressOf(const void* row) { return row; }
template <class Row>
CONCORD_PORTABLE const void* AddressOf(const Row& row) {
  return row.row;
}

// A row with its coefficients in the direction and in the pseudo gradient.
struct CommitRow {
  const void* row;
  double direction;
  double pseudo;
};

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_ROW_TABLE_H_
