// SeparatePass and ColumnPass, of one element.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTWISE_PASSES_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTWISE_PASSES_H_

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "operators/counter_random.h"
#include "operators/kernels/cuda/elements.h"
#include "operators/kernels/cuda/number.h"
#include "operators/kernels/cuda/portable.h"
#include "operators/kernels/cuda/row_table.h"

namespace concord::cuda {

// SeparatePass.
template <class T>
struct SeparateMomenta {
  const void* gradient;  // Null: the momenta are read as they are.
  const void* momentum;
  const void* second;
  void* new_momentum;
  void* new_second;
  double beta_1, complement_1, complement_2, scale;
  T second_scale, epsilon;
  void* rescaled;

  template <bool kWide>
  CONCORD_PORTABLE void Make(size_t first, int valid) const {
    T m[kElements], s[kElements], out[kElements];
    Load<kWide>(static_cast<const T*>(momentum) + first, valid, m);
    Load<kWide>(static_cast<const T*>(second) + first, valid, s);
    if (gradient != nullptr) {
      T g[kElements];
      Load<kWide>(static_cast<const T*>(gradient) + first, valid, g);
      CONCORD_UNROLL(kElements)
      for (int i = 0; i < kElements; ++i) {
        const double gradient_i = Flushed(g[i]);
        m[i] = Rounded<T>(NewMomentum<Number<double>>(beta_1, complement_1,
                                                      double{Flushed(m[i])},
                                                      gradient_i)
                              .value);
        s[i] = Rounded<T>(NewSecondMomentum<Number<double>>(
                              complement_2, double{Flushed(s[i])}, gradient_i)
                              .value);
      }
      Store<kWide>(m, valid, static_cast<T*>(new_momentum) + first);
      Store<kWide>(s, valid, static_cast<T*>(new_second) + first);
    }
    CONCORD_UNROLL(kElements)
    for (int i = 0; i < kElements; ++i) {
      const Number<double> scaled =
          Number<double>(Flushed(m[i])) * Number<double>(scale);
      out[i] = Rescaled<Number<T>>(Rounded<T>(scaled.value), Flushed(s[i]),
                                   second_scale, epsilon)
                   .value;
    }
    Store<kWide>(out, valid, static_cast<T*>(rescaled) + first);
  }
};

struct ColumnRow {
  const void* row;
  double scale;
  double leak;  // Of SignDropRule.
};

// ColumnPass.
template <class T>
struct Columns {
  RowTable<ColumnRow> rows;
  size_t first;  // Column of element 0.
  bool drops_signs;
  uint64_t seed, step;  // Of SignDropRule.
  int trim;             // Of TrimmedMeanRule.
  void* direction;

  CONCORD_PORTABLE void Make(size_t element) const {
    static_cast<T*>(direction)[element] =
        Rounded<T>(drops_signs ? SignDropped(element) : TrimmedMean(element));
  }

 private:
  CONCORD_PORTABLE Number<double> At(const ColumnRow& row,
                                     size_t element) const {
    const double x = Flushed(static_cast<const T*>(row.row)[element]);
    return Number<double>(row.scale) * Number<double>(x);
  }

  CONCORD_PORTABLE double SignDropped(size_t element) const {
    Number<double> sum = 0.0, size = 0.0;
    for (int i = 0; i < rows.count; ++i) {
      const Number<double> x = At(rows[i], element);
      sum = sum + x;
      size = size + Number<double>(std::fabs(x.value));
    }
    const Number<double> one = 1.0, two = 2.0, half = 0.5;
    const Number<double> positive =
        size.value > 0 ? (one + sum / size) / two : half;
    const double excess = (positive - Number<double>(UniformOfColumn(
                                          seed, step, first + element)))
                              .value;
    Number<double> result = 0.0;
    for (int i = 0; i < rows.count; ++i) {
      const ColumnRow row = rows[i];
      const Number<double> x = At(row, element);
      const bool stays =
          (excess > 0 && x.value > 0) || (excess < 0 && x.value < 0);
      result = result + (stays ? x : Number<double>(row.leak) * x);
    }
    return result.value;
  }

  // Adds the values in ascending order, finding each time the next larger one
  // and how often it is there: without memory for the column.
  CONCORD_PORTABLE double TrimmedMean(size_t element) const {
    const int end = rows.count - trim;
    Number<double> sum = 0.0;
    double last = 0;
    for (int passed = 0; passed < end;) {
      double next = 0;
      int times = 0;
      for (int i = 0; i < rows.count; ++i) {
        const double x = At(rows[i], element).value;
        if (passed > 0 && !(x > last)) continue;
        if (times == 0 || x < next) {
          next = x;
          times = 1;
        } else if (x == next) {
          ++times;
        }
      }
      if (times == 0) break;  // Only NaN are left.
      for (int k = 0; k < times && passed < end; ++k, ++passed) {
        if (passed >= trim) sum = sum + Number<double>(next);
      }
      last = next;
    }
    return (sum / Number<double>(static_cast<double>(rows.count - 2 * trim)))
        .value;
  }
};

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_ELEMENTWISE_PASSES_H_
