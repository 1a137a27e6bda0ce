// From the passes of kernels.h to the kernels' arguments.
#ifndef CONCORD_OPERATORS_KERNELS_CUDA_ARGUMENTS_H_
#define CONCORD_OPERATORS_KERNELS_CUDA_ARGUMENTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include <variant>
#include <vector>

#include "operators/kernels/cuda/elementwise_passes.h"
#include "operators/kernels/cuda/row_table.h"
#include "operators/kernels/cuda/sources.h"
#include "operators/kernels/exact_factor.h"
#include "operators/kernels/kernels.h"

namespace concord::cuda {

// Whether the threads may move all their elements in one go. Null is aligned.
inline bool IsAligned(const void* vector, size_t bytes = 16) {
  return reinterpret_cast<uintptr_t>(vector) % bytes == 0;
}
inline bool AreAligned(std::initializer_list<const void*> vectors) {
  return std::all_of(vectors.begin(), vectors.end(),
                     [](const void* vector) { return IsAligned(vector); });
}
template <class Row>
bool AreAligned(const std::vector<Row>& rows) {
  return std::all_of(rows.begin(), rows.end(),
                     [](const Row& row) { return IsAligned(AddressOf(row)); });
}

// `table` has `rows`; `upload(rows, bytes)` gives their address on the device
// where they do not fit into an argument.
template <class Row, class Upload>
absl::Status Fill(const std::vector<Row>& rows, RowTable<Row>* table,
                  const Upload& upload) {
  table->count = static_cast<int>(rows.size());
  if (rows.size() <= RowTable<Row>::kInline) {
    std::copy(rows.begin(), rows.end(), table->rows);
    return absl::OkStatus();
  }
  const absl::StatusOr<const void*> more =
      upload(rows.data(), rows.size() * sizeof(Row));
  if (!more.ok()) return more.status();
  table->more = static_cast<const Row*>(*more);
  return absl::OkStatus();
}

inline Stored StoredAs(const std::optional<HalfType>& type) {
  if (!type.has_value()) return Stored::kOwn;
  return *type == HalfType::kBfloat16 ? Stored::kBfloat16 : Stored::kFloat16;
}

template <class T>
NewRow<T> RowOf(const IngestPass& pass) {
  NewRow<T> row;
  row.gradient = pass.gradient;
  row.gradient_type = StoredAs(pass.gradient_type);
  row.momentum = pass.staged == nullptr ? nullptr : pass.momentum;
  row.staged = pass.staged;
  row.beta_1 = pass.beta_1;
  row.complement = 1 - pass.beta_1;
  return row;
}

template <class T>
bool IsAligned(const NewRow<T>& row) {
  return IsAligned(row.gradient, row.gradient_type == Stored::kOwn ? 16 : 8) &&
         AreAligned({row.momentum, row.staged});
}

// The update's argument but for its rows.
template <class T>
NewUpdate<T> UpdateOf(const CommitPass& pass) {
  NewUpdate<T> update;
  update.in_direction = static_cast<int>(pass.rows.size());
  update.second = pass.second;
  update.new_second = pass.second == nullptr || !pass.update_second ? nullptr
                      : pass.new_second != nullptr ? pass.new_second
                                                   : pass.second;
  update.complement = static_cast<T>(1 - pass.beta_2);
  update.correction = static_cast<T>(pass.correction);
  update.epsilon = static_cast<T>(pass.epsilon);
  update.update = pass.update;
  return update;
}

template <class T>
std::vector<CommitRow> RowsOf(const CommitPass& pass) {
  const bool updates = pass.second != nullptr && pass.update_second;
  const auto factor = [](double coefficient) {
    return std::is_same_v<T, float> ? ExactFactor(coefficient) : coefficient;
  };
  std::vector<CommitRow> rows;
  rows.reserve(pass.rows.size() + pass.previous_rows.size());
  for (size_t j = 0; j < pass.rows.size(); ++j) {
    rows.push_back({pass.rows[j], factor(pass.direction[j]),
                    updates ? factor(pass.pseudo[j]) : 0});
  }
  for (size_t p = 0; updates && p < pass.previous_rows.size(); ++p) {
    rows.push_back({pass.previous_rows[p], 0, factor(pass.previous[p])});
  }
  return rows;
}

template <class T>
bool IsAligned(const NewUpdate<T>& update) {
  return AreAligned({update.second, update.new_second, update.update});
}

template <class T>
SeparateMomenta<T> MomentaOf(const SeparatePass& pass) {
  SeparateMomenta<T> momenta;
  momenta.gradient = pass.gradient;
  momenta.momentum = pass.momentum;
  momenta.second = pass.second;
  momenta.new_momentum = pass.new_momentum;
  momenta.new_second = pass.new_second;
  momenta.beta_1 = pass.beta_1;
  momenta.complement_1 = 1 - pass.beta_1;
  momenta.complement_2 = 1 - pass.beta_2;
  momenta.scale = pass.scale;
  momenta.second_scale = static_cast<T>(pass.second_scale);
  momenta.epsilon = static_cast<T>(pass.epsilon);
  momenta.rescaled = pass.rescaled;
  return momenta;
}

template <class T>
bool IsAligned(const SeparateMomenta<T>& momenta) {
  return AreAligned({momenta.gradient, momenta.momentum, momenta.second,
                     momenta.new_momentum, momenta.new_second,
                     momenta.rescaled});
}

// The columns' argument but for its rows.
template <class T>
Columns<T> ColumnsOf(const ColumnPass& pass) {
  Columns<T> columns;
  columns.first = pass.first;
  const auto* drop = std::get_if<SignDropRule>(pass.rule);
  columns.drops_signs = drop != nullptr;
  columns.seed = drop != nullptr ? drop->seed : 0;
  columns.step = drop != nullptr ? drop->step : 0;
  const auto* trimmed = std::get_if<TrimmedMeanRule>(pass.rule);
  columns.trim = trimmed != nullptr ? trimmed->trim : 0;
  columns.direction = pass.direction;
  return columns;
}

inline std::vector<ColumnRow> RowsOf(const ColumnPass& pass) {
  const auto* drop = std::get_if<SignDropRule>(pass.rule);
  std::vector<ColumnRow> rows;
  rows.reserve(pass.rows.size());
  for (size_t i = 0; i < pass.rows.size(); ++i) {
    rows.push_back(
        {pass.rows[i], pass.scales[i], drop != nullptr ? drop->leak[i] : 0});
  }
  return rows;
}

}  // namespace concord::cuda

#endif  // CONCORD_OPERATORS_KERNELS_CUDA_ARGUMENTS_H_
