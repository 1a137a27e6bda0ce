// The Gram matrix of vectors that are stored, taken from nothing but them.
#ifndef CONCORD_OPERATORS_MOMENTUM_STORED_GRAM_H_
#define CONCORD_OPERATORS_MOMENTUM_STORED_GRAM_H_

#include <cstddef>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "operators/dtype.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/row_passes.h"

namespace concord {

// K = V V^T of the rows, `num_parameters` elements each, block by block in
// index order: the same bits as the matrix that steps have brought forward, row
// by row, to these vectors. With rescalings the rows are made of both vectors
// in scratch memory. The errors of the device.
absl::StatusOr<Eigen::MatrixXd> GramOf(StoredRows rows, Dtype dtype,
                                       size_t num_parameters, Kernels* kernels);

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_STORED_GRAM_H_
