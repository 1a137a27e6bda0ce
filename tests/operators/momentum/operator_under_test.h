// Drives a MomentumOperator the way its callers do.
#ifndef CONCORD_TESTS_OPERATORS_MOMENTUM_OPERATOR_UNDER_TEST_H_
#define CONCORD_TESTS_OPERATORS_MOMENTUM_OPERATOR_UNDER_TEST_H_

#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

template <class T>
OperatorOptions Options(int m, size_t n, int k = 0) {
  OperatorOptions options;
  options.num_vectors = m;
  options.num_parameters = n;
  options.max_vectors_per_step = k;
  options.dtype = std::is_same_v<T, float> ? Dtype::kFloat32 : Dtype::kFloat64;
  return options;
}

inline std::unique_ptr<MomentumOperator> Make(const OperatorOptions& options,
                                              int threads = 1) {
  auto made = MomentumOperator::Create(options, MakeCpuKernels(threads));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// Solves and commits what is staged; the update.
template <class T>
std::vector<T> Finish(MomentumOperator* op, bool update_cosines = false) {
  std::vector<T> update(op->options().num_parameters, T(-7));
  const absl::Status solved = op->Solve({}, {});
  EXPECT_TRUE(solved.ok()) << solved;
  if (!solved.ok()) return update;
  size_t reported = 0;
  const absl::Status committed =
      op->Commit(update.data(), update_cosines, [&](size_t elements) {
        EXPECT_GT(elements, reported);
        reported = elements;
      });
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_EQ(reported, update.size());
  return update;
}

template <class T>
std::vector<T> Step(MomentumOperator* op, const std::vector<int>& indexes,
                    const std::vector<std::vector<T>>& gradients) {
  std::vector<const void*> pointers;
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  const absl::Status status = op->Ingest(indexes, pointers);
  EXPECT_TRUE(status.ok()) << status;
  return Finish<T>(op);
}

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_MOMENTUM_OPERATOR_UNDER_TEST_H_
