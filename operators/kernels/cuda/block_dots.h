// One thread block's work on one block of the vectors: elements that are made
// (sources.h), and their dot products with themselves and with rows, summed in
// the order of the cpu backend: element e of a block belongs to partial sum
// e % kPartialSums, the sums are added in index order.
//
// A tile of the block is made by all threads, each a few neighbouring elements,
// and lies widened in shared memory; then one thread for each partial sum of
// each row adds the tile's products, one after the other. That is a chain of
// dependent additions, but short beside the time that the tile takes from
// memory, and other thread blocks fill it. The steps of a thread between two
// barriers are functions here, so that a test can take them in turn on the
// host.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_BLOCK_DOTS_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_BLOCK_DOTS_H_

#include <cstddef>

#include "operators/kernels/cuda/elements.h"
#include "operators/kernels/cuda/number.h"
#include "operators/kernels/cuda/portable.h"
#include "operators/kernels/cuda/row_table.h"
#include "operators/kernels/cuda/sources.h"

namespace concord::cuda {

inline constexpr int kBlock = 4096;   // Elements: the cpu backend's kCpuBlock.
inline constexpr int kPartials = 16;  // Its kPartialSums.
inline constexpr int kThreads = 256;
inline constexpr int kTile = kThreads * kElements;
static_assert(kBlock % kTile == 0 && kTile % kPartials == 0);

// Rows that lie in shared memory together, beside the vector itself.
inline constexpr int kGroupRows = 7;
static_assert((kGroupRows + 1) * kPartials <= kThreads);

// Bytes of shared memory of a pass with `rows` rows.
CONCORD_PORTABLE size_t SharedBytes(int rows) {
  return sizeof(double) * kTile * (1 + (rows < kGroupRows ? rows : kGroupRows));
}

// Some rows of a pass. The first group's products begin with the vector's own
// square.
struct Group {
  int first;  // Row.
  int rows;
  CONCORD_PORTABLE bool has_square() const { return first == 0; }
  CONCORD_PORTABLE int products() const {
    return rows + (has_square() ? 1 : 0);
  }
};

CONCORD_PORTABLE Group GroupAt(int first, int rows) {
  const int left = rows - first;
  return {first, left < kGroupRows ? left : kGroupRows};
}

CONCORD_PORTABLE int ValidAt(int element, int count) {
  const int left = count - element;
  return left < 0 ? 0 : left < kElements ? left : kElements;
}

// The elements from `element` on; `x`: theirs of the tile.
template <class T, bool kWide, class Source, class Row>
CONCORD_PORTABLE void FillValid(const Source& source, const RowTable<Row>& rows,
                                Group group, size_t element, int valid,
                                double* x) {
  T own[kBatch][kElements] = {};
  const auto load = [&](int j) {
    CONCORD_UNROLL(kBatch)
    for (int b = 0; b < kBatch; ++b) {
      if (j + b >= group.rows) continue;
      const void* const row = AddressOf(rows[group.first + j + b]);
      Load<kWide>(static_cast<const T*>(row) + element, valid, own[b]);
    }
  };
  if constexpr (Source::kRowsFirst) load(0);
  double wide[kElements];
  if (group.has_square()) {
    source.template Make<kWide>(element, valid, wide);
  } else {
    source.template Again<kWide>(element, valid, wide);
  }
  CONCORD_UNROLL(kElements)
  for (int i = 0; i < kElements; ++i) x[i] = i < valid ? wide[i] : 0;
  for (int j = 0; j < group.rows; j += kBatch) {
    if (!Source::kRowsFirst || j > 0) load(j);
    CONCORD_UNROLL(kBatch)
    for (int b = 0; b < kBatch; ++b) {
      if (j + b < group.rows) Widen(own[b], x + (1 + j + b) * kTile);
    }
  }
}

// Thread `thread` fills its part of a tile. `first`: the block's first element;
// it has `count`; the tile begins at its element `tile`. `aligned`: all vectors
// are, to 16 bytes.
template <class T, class Source, class Row>
CONCORD_PORTABLE void FillTile(const Source& source, const RowTable<Row>& rows,
                               Group group, bool aligned, size_t first,
                               int count, int tile, int thread,
                               double* shared) {
  const int at = tile + thread * kElements;
  const int valid = ValidAt(at, count);
  double* const x = shared + thread * kElements;
  if (valid == 0) {
    for (int j = 0; j <= group.rows; ++j) {
      CONCORD_UNROLL(kElements)
      for (int i = 0; i < kElements; ++i) x[j * kTile + i] = 0;
    }
  } else if (aligned && valid == kElements) {
    FillValid<T, true>(source, rows, group, first + at, valid, x);
  } else {
    FillValid<T, false>(source, rows, group, first + at, valid, x);
  }
}

// Thread `thread` adds a tile of `count` elements to its partial sum.
template <class T>
CONCORD_PORTABLE double AddTile(double sum, Group group, int count, int thread,
                                const double* shared) {
  const int product = thread / kPartials;
  if (product >= group.products()) return sum;
  const double* const x = shared + thread % kPartials;
  const double* const y =
      x + (group.has_square() ? product : product + 1) * kTile;
  const int steps = (count + kPartials - 1) / kPartials;
#ifdef __CUDACC__
#pragma unroll 16
#endif
  for (int step = 0; step < steps; ++step) {
    sum = AddProduct<T>(sum, x[step * kPartials], y[step * kPartials]);
  }
  return sum;
}

// Thread `thread` of the group's first adds up the partial sums of a product,
// which lie in `shared` in the threads' order.
CONCORD_PORTABLE void AddPartials(Group group, int thread, const double* shared,
                                  double* dots) {
  if (thread >= group.products()) return;
  double sum = 0;
  for (int l = 0; l < kPartials; ++l) {
    sum = Flushed(sum + shared[thread * kPartials + l]);
  }
  dots[(group.has_square() ? 0 : 1 + group.first) + thread] = sum;
}

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_BLOCK_DOTS_H_
