// Eigenvalues and eigenvectors of a Gram matrix, each to its own relative
// accuracy: Jacobi's rotations (Demmel, Veselic: "Jacobi's Method is More
// Accurate than QR", SIAM J. Matrix Anal. Appl. 13, 1992). A solver that
// reduces the matrix first errs by a rounding of the largest eigenvalue; for
// vectors whose lengths are many orders apart the small ones are then lost.
#ifndef CONCORD_OPERATORS_COMBINE_JACOBI_EIGEN_H_
#define CONCORD_OPERATORS_COMBINE_JACOBI_EIGEN_H_

#include "operators/combine/symmetric_eigen.h"

namespace concord {

// `matrix` is symmetric, positive semidefinite and finite; its lower triangle
// is read. O(m^3) a sweep, a few sweeps.
SymmetricEigen DecomposeByRotations(const Eigen::MatrixXd& matrix);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_JACOBI_EIGEN_H_
