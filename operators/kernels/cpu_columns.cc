#include "operators/kernels/cpu_columns.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "operators/counter_random.h"

namespace concord {
namespace {

// Columns that are worked on together, row after row.
constexpr size_t kTile = 256;

struct Tile {  // One row of it.
  double values[kTile];
};

// x_i of a tile's columns.
template <class T>
void Load(const ColumnPass& pass, size_t row, size_t begin, size_t count,
          double* to) {
  const T* from = static_cast<const T*>(pass.rows[row]) + begin;
  const double scale = pass.scales[row];
  for (size_t e = 0; e < count; ++e) to[e] = scale * from[e];
}

void Uniforms(const SignDropRule& rule, size_t first, size_t count,
              double* uniforms) {
  std::array<uint32_t, 4> words = {};
  for (size_t e = 0; e < count; ++e) {
    const size_t column = first + e;
    if (e == 0 || column % 4 == 0) {
      words = ColumnBlock(rule.seed, rule.step, column);
    }
    uniforms[e] = ToUniform(words[column % 4]);
  }
}

template <class T>
void SignDrop(const ColumnPass& pass, const SignDropRule& rule) {
  T* const direction = static_cast<T*>(pass.direction);
  const size_t rows = pass.rows.size();
  double x[kTile], sum[kTile], size[kTile], uniform[kTile];
  for (size_t begin = 0; begin < pass.count; begin += kTile) {
    const size_t count = std::min(kTile, pass.count - begin);
    std::fill_n(sum, count, 0.0);
    std::fill_n(size, count, 0.0);
    for (size_t i = 0; i < rows; ++i) {
      Load<T>(pass, i, begin, count, x);
      for (size_t e = 0; e < count; ++e) {
        sum[e] += x[e];
        size[e] += std::abs(x[e]);
      }
    }
    Uniforms(rule, pass.first + begin, count, uniform);
    for (size_t e = 0; e < count; ++e) {
      // P - U: positive values stay where it is > 0, negative ones where < 0.
      sum[e] = (size[e] > 0 ? (1 + sum[e] / size[e]) / 2 : 0.5) - uniform[e];
    }
    std::fill_n(size, count, 0.0);
    for (size_t i = 0; i < rows; ++i) {
      Load<T>(pass, i, begin, count, x);
      for (size_t e = 0; e < count; ++e) {
        const bool stays = (sum[e] > 0 && x[e] > 0) || (sum[e] < 0 && x[e] < 0);
        size[e] += stays ? x[e] : rule.leak[i] * x[e];
      }
    }
    for (size_t e = 0; e < count; ++e) {
      direction[begin + e] = static_cast<T>(size[e]);
    }
  }
}

template <class T>
void TrimmedMean(const ColumnPass& pass, const TrimmedMeanRule& rule) {
  T* const direction = static_cast<T*>(pass.direction);
  const size_t rows = pass.rows.size();
  const size_t trim = rule.trim;
  std::vector<Tile> columns(rows);
  std::vector<double> values(rows);
  for (size_t begin = 0; begin < pass.count; begin += kTile) {
    const size_t count = std::min(kTile, pass.count - begin);
    for (size_t i = 0; i < rows; ++i) {
      Load<T>(pass, i, begin, count, columns[i].values);
    }
    for (size_t e = 0; e < count; ++e) {
      for (size_t i = 0; i < rows; ++i) values[i] = columns[i].values[e];
      std::sort(values.begin(), values.end());
      double sum = 0;
      for (size_t i = trim; i < rows - trim; ++i) sum += values[i];
      direction[begin + e] =
          static_cast<T>(sum / static_cast<double>(rows - 2 * trim));
    }
  }
}

template <class T>
void Run(const ColumnPass& pass) {
  if (const auto* drop = std::get_if<SignDropRule>(pass.rule)) {
    SignDrop<T>(pass, *drop);
  } else {
    TrimmedMean<T>(pass, std::get<TrimmedMeanRule>(*pass.rule));
  }
}

}  // namespace

void CpuCombineColumns(const ColumnPass& pass) {
  pass.dtype == Dtype::kFloat32 ? Run<float>(pass) : Run<double>(pass);
}

}  // namespace concord
