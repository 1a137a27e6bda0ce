// What a thread makes of its elements: new momenta (pass 1) and updates (pass
// 2), the cpu backend's numbers bit by bit.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_SOURCES_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_SOURCES_H_

#include <cstddef>

#include "operators/kernels/cuda/elements.h"
#include "operators/kernels/cuda/number.h"
#include "operators/kernels/cuda/portable.h"
#include "operators/kernels/cuda/row_table.h"

namespace concord::cuda {

// Rows that a thread asks memory for before it computes with them.
inline constexpr int kBatch = 4;

// Widened, for the dots.
template <class T>
CONCORD_PORTABLE void Widen(const T* from, double* to) {
  CONCORD_UNROLL(kElements)
  for (int i = 0; i < kElements; ++i) to[i] = Flushed(from[i]);
}

template <class T, bool kWide>
CONCORD_PORTABLE void LoadWidened(const void* vector, size_t first, int valid,
                                  double* to) {
  T own[kElements];
  Load<kWide>(static_cast<const T*>(vector) + first, valid, own);
  Widen(own, to);
}

// IngestPass: the gradient, or the new momentum.
template <class T>
struct NewRow {
  // Whether rows may be read before their neighbours are made: nothing that is
  // written is one of them.
  static constexpr bool kRowsFirst = true;

  const void* gradient;
  Stored gradient_type;
  const void* momentum;  // Null: the gradient is the row.
  void* staged;          // Null: it stays where it is.
  double beta_1;
  double complement;

  // Makes and stores the elements from `first` on; `wide`: what is stored.
  template <bool kWide>
  CONCORD_PORTABLE void Make(size_t first, int valid, double* wide) const {
    T row[kElements];
    LoadStored<kWide>(gradient, gradient_type, first, valid, row);
    if (momentum != nullptr) {
      T old[kElements];
      Load<kWide>(static_cast<const T*>(momentum) + first, valid, old);
      CONCORD_UNROLL(kElements)
      for (int i = 0; i < kElements; ++i) {
        row[i] = Rounded<T>(NewMomentum<Number<double>>(beta_1, complement,
                                                        double{Flushed(old[i])},
                                                        double{Flushed(row[i])})
                                .value);
      }
    }
    if (staged != nullptr && (momentum != nullptr || staged != gradient)) {
      Store<kWide>(row, valid, static_cast<T*>(staged) + first);
    }
    Widen(row, wide);
  }

  // The same, once they are made.
  template <bool kWide>
  CONCORD_PORTABLE void Again(size_t first, int valid, double* wide) const {
    LoadWidened<T, kWide>(staged != nullptr ? staged : gradient, first, valid,
                          wide);
  }
};

// CommitPass: the update, and the second momentum on the way.
template <class T>
struct NewUpdate {
  static constexpr bool kRowsFirst = false;  // The update may replace a row.

  RowTable<CommitRow> rows;  // The pass's, then its previous ones.
  int in_direction;          // The first ones; the rest are previous.
  const void* second;        // Null: the update is the direction.
  void* new_second;          // Null: the second momentum stays.
  T complement, correction, epsilon;
  void* update;

  template <bool kWide>
  CONCORD_PORTABLE void Make(size_t first, int valid, double* wide) const {
    double r[kElements] = {}, f[kElements] = {};
    for (int j = 0; j < rows.count; j += kBatch) {
      T x[kBatch][kElements] = {};
      CONCORD_UNROLL(kBatch)
      for (int b = 0; b < kBatch; ++b) {
        if (j + b >= rows.count) continue;
        Load<kWide>(static_cast<const T*>(rows[j + b].row) + first, valid,
                    x[b]);
      }
      CONCORD_UNROLL(kBatch)
      for (int b = 0; b < kBatch; ++b) {
        if (j + b >= rows.count) continue;
        const CommitRow row = rows[j + b];
        const bool in_r = j + b < in_direction, in_f = new_second != nullptr;
        CONCORD_UNROLL(kElements)
        for (int i = 0; i < kElements; ++i) {
          const double element = Flushed(x[b][i]);
          if (in_r) r[i] = AddProduct<T>(r[i], row.direction, element);
          if (in_f) f[i] = AddProduct<T>(f[i], row.pseudo, element);
        }
      }
    }
    T out[kElements];
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) out[i] = Rounded<T>(r[i]);
    if (second != nullptr) Rescale<kWide>(first, valid, f, out);
    Store<kWide>(out, valid, static_cast<T*>(update) + first);
    Widen(out, wide);
  }

  template <bool kWide>
  CONCORD_PORTABLE void Again(size_t first, int valid, double* wide) const {
    LoadWidened<T, kWide>(update, first, valid, wide);
  }

 private:
  template <bool kWide>
  CONCORD_PORTABLE void Rescale(size_t first, int valid, const double* f,
                                T* out) const {
    T s[kElements];
    Load<kWide>(static_cast<const T*>(second) + first, valid, s);
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) {
      s[i] = Flushed(s[i]);
      if (new_second != nullptr) {
        s[i] = NewSecondMomentum<Number<T>>(complement, s[i], Rounded<T>(f[i]))
                   .value;
      }
      out[i] = Rescaled<Number<T>>(out[i], s[i], correction, epsilon).value;
    }
    if (new_second != nullptr) {
      Store<kWide>(s, valid, static_cast<T*>(new_second) + first);
    }
  }
};

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_SOURCES_H_
