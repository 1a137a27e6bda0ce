// What the tests of the combiners share: seeded matrices, and a combination
// with its direction as a vector.
#ifndef CONCORD_TESTS_OPERATORS_COMBINE_COMBINE_TESTING_H_
#define CONCORD_TESTS_OPERATORS_COMBINE_COMBINE_TESTING_H_

#include <random>
#include <string>
#include <vector>

#include "Eigen/Core"
#include "operators/combine/combiner.h"

namespace concord {

struct Combined {
  Combination combination;
  Eigen::VectorXd coefficients;
  Eigen::VectorXd direction;
  Eigen::VectorXd products;  // With each vector.
};

Combined Combine(const Eigen::MatrixXd& vectors, const CombinerOptions& options,
                 const std::vector<double>& state = {});

Eigen::MatrixXd RandomNormal(int m, int n, std::mt19937* engine);

struct Case {
  std::string name;
  Eigen::MatrixXd vectors;
};

// m x n matrices, m from 1 to `most`, well-conditioned, or hard in one of the
// ways that gradients are: rows nearly equal, nearly opposing, of scales twelve
// orders apart, more rows than columns.
std::vector<Case> RandomCases(int seed, int most = 6);

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_COMBINE_COMBINE_TESTING_H_
