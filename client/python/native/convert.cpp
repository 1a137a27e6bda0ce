#include "client/python/native/convert.h"

#include <nanobind/stl/vector.h>

#include <stdexcept>

namespace concord::python {

namespace nb = nanobind;

nb::list ToRows(const Eigen::MatrixXd& matrix) {
  nb::list rows;
  for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
    nb::list row;
    for (Eigen::Index j = 0; j < matrix.cols(); ++j) row.append(matrix(i, j));
    rows.append(row);
  }
  return rows;
}

Eigen::MatrixXd FromRows(const std::vector<std::vector<double>>& rows) {
  const size_t columns = rows.empty() ? 0 : rows[0].size();
  Eigen::MatrixXd matrix(rows.size(), columns);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].size() != columns) {
      throw nb::value_error("the rows of a matrix differ in length");
    }
    for (size_t j = 0; j < columns; ++j) matrix(i, j) = rows[i][j];
  }
  return matrix;
}

std::vector<double> ToTriangle(const Eigen::MatrixXd& matrix) {
  std::vector<double> values;
  for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) values.push_back(matrix(i, j));
  }
  return values;
}

Eigen::MatrixXd FromTriangle(const std::vector<double>& values) {
  Eigen::Index m = 0;
  while (static_cast<size_t>(m * (m + 1) / 2) < values.size()) ++m;
  if (static_cast<size_t>(m * (m + 1) / 2) != values.size()) {
    throw nb::value_error("not as many values as a triangle has");
  }
  Eigen::MatrixXd matrix(m, m);
  auto value = values.begin();
  for (Eigen::Index i = 0; i < m; ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) {
      matrix(i, j) = matrix(j, i) = *value++;
    }
  }
  return matrix;
}

nb::dict ToDict(const Combination& combination) {
  nb::dict result;
  result["coefficients"] = nb::cast(combination.coefficients);
  result["conflict_free"] = combination.conflict_free;
  result["pareto_stationary"] = combination.pareto_stationary;
  result["rank"] = combination.rank;
  result["length"] = combination.length;
  return result;
}

nb::dict ToDict(const StepSolution& solution) {
  nb::dict result = ToDict(solution.combination);
  result["warming_up"] = solution.warming_up;
  result["indexes"] = nb::cast(solution.indexes);
  result["gram"] = ToRows(solution.gram);
  result["cosines"] = ToRows(solution.cosines);
  result["losses"] = nb::cast(solution.losses);
  result["stale_losses"] = nb::cast(solution.stale);
  result["direction_cosines"] = nb::cast(solution.direction_cosines);
  result["update_cosines"] = nb::cast(solution.update_cosines);
  return result;
}

}  // namespace concord::python
