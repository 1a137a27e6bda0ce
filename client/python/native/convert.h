// Small results as Python values.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_CONVERT_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_CONVERT_H_

#include <nanobind/nanobind.h>

#include <vector>

#include "Eigen/Core"
#include "operators/combine/combiner.h"
#include "operators/momentum/momentum_operator.h"

namespace concord::python {

// A list of rows.
nanobind::list ToRows(const Eigen::MatrixXd& matrix);

// Rows of equal length; ValueError else.
Eigen::MatrixXd FromRows(const std::vector<std::vector<double>>& rows);

// The lower triangle of a symmetric matrix, row by row, and back. The number of
// values that fits no matrix is a ValueError.
std::vector<double> ToTriangle(const Eigen::MatrixXd& matrix);
Eigen::MatrixXd FromTriangle(const std::vector<double>& values);

// coefficients, conflict_free, pareto_stationary, rank, length.
nanobind::dict ToDict(const Combination& combination);

// The combination's items and warming_up, indexes, gram, cosines, losses,
// direction_cosines, update_cosines.
nanobind::dict ToDict(const StepSolution& solution);

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_CONVERT_H_
