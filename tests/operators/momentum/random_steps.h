// Random losses of a step and their gradients, the same in every run.
#ifndef CONCORD_TESTS_OPERATORS_MOMENTUM_RANDOM_STEPS_H_
#define CONCORD_TESTS_OPERATORS_MOMENTUM_RANDOM_STEPS_H_

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "Eigen/Core"
#include "gtest/gtest.h"
#include "tests/operators/random_vectors.h"

namespace concord {

template <class T>
class RandomStepsTest : public ::testing::Test {
 protected:
  void Draw(int m, size_t n) {
    indexes_.resize(m);
    std::iota(indexes_.begin(), indexes_.end(), 0);
    std::shuffle(indexes_.begin(), indexes_.end(), engine_);
    indexes_.resize(std::uniform_int_distribution<int>(1, m)(engine_));
    gradients_.clear();
    for (size_t k = 0; k < indexes_.size(); ++k) {
      gradients_.push_back(RandomVector<T>(n, &engine_));
    }
  }

  Eigen::MatrixXd Gradients() const {
    Eigen::MatrixXd matrix(gradients_.size(), gradients_[0].size());
    for (size_t k = 0; k < gradients_.size(); ++k) {
      for (size_t e = 0; e < gradients_[k].size(); ++e) {
        matrix(k, e) = gradients_[k][e];
      }
    }
    return matrix;
  }

  std::mt19937 engine_{20240817};
  std::vector<int> indexes_;
  std::vector<std::vector<T>> gradients_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_MOMENTUM_RANDOM_STEPS_H_
