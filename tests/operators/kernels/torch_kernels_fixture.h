// What the tests of the torch kernels share: both backends, passes that return
// their dots, and the measures of error.
#ifndef CONCORD_TESTS_OPERATORS_KERNELS_TORCH_KERNELS_FIXTURE_H_
#define CONCORD_TESTS_OPERATORS_KERNELS_TORCH_KERNELS_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/device_kernels.h"
#include "operators/kernels/kernels.h"
#include "tests/operators/random_vectors.h"

namespace concord {

inline std::shared_ptr<Kernels> TorchCpu() {
  absl::StatusOr<std::shared_ptr<Kernels>> kernels =
      LoadTorchKernels("cpu", CONCORD_TORCH_MODULE);
  EXPECT_TRUE(kernels.ok()) << kernels.status();
  return kernels.ok() ? *kernels : nullptr;
}

template <class T>
constexpr Dtype kDtype =
    std::is_same_v<T, float> ? Dtype::kFloat32 : Dtype::kFloat64;

// Units in the last place between two numbers of one sign.
template <class T>
double UlpDistance(T a, T b) {
  if (a == b) return 0;
  const T size = std::max(std::abs(a), std::abs(b));
  return std::abs(static_cast<double>(a) - static_cast<double>(b)) /
         (static_cast<double>(
              std::nextafter(size, std::numeric_limits<T>::infinity())) -
          static_cast<double>(size));
}

template <class T>
double WorstUlp(const std::vector<T>& a, const std::vector<T>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, UlpDistance(a[i], b[i]));
  }
  return worst;
}

// Difference of two vectors over the size of what was expected.
template <class T>
double RelativeError(const std::vector<T>& value,
                     const std::vector<T>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double(value[i]) - double(expected[i]), 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// Sums over the blocks of `dots`, and the sums of absolute products that an
// error is measured against.
struct Sums {
  std::vector<double> value, scale;
};

inline Sums SumBlocks(const std::vector<double>& dots, size_t width) {
  Sums sums{std::vector<double>(width), {}};
  for (size_t i = 0; i < dots.size(); ++i) sums.value[i % width] += dots[i];
  return sums;
}

template <class T>
Sums PlainDots(const std::vector<T>& a,
               const std::vector<std::vector<T>>& rows) {
  Sums sums{std::vector<double>(rows.size() + 1),
            std::vector<double>(rows.size() + 1)};
  for (size_t j = 0; j <= rows.size(); ++j) {
    const std::vector<T>& b = j == 0 ? a : rows[j - 1];
    for (size_t i = 0; i < a.size(); ++i) {
      sums.value[j] += double(a[i]) * double(b[i]);
      sums.scale[j] += std::abs(double(a[i]) * double(b[i]));
    }
  }
  return sums;
}

inline void ExpectDots(const std::vector<double>& dots, const Sums& expected) {
  const Sums sums = SumBlocks(dots, expected.value.size());
  for (size_t j = 0; j < expected.value.size(); ++j) {
    EXPECT_NEAR(sums.value[j], expected.value[j], 1e-12 * expected.scale[j])
        << "row " << j;
  }
}

template <class T>
std::vector<const void*> Pointers(const std::vector<std::vector<T>>& rows) {
  std::vector<const void*> pointers;
  for (const std::vector<T>& row : rows) pointers.push_back(row.data());
  return pointers;
}

inline size_t Blocks(const Kernels& kernels, size_t count) {
  return (count + kernels.block_elements() - 1) / kernels.block_elements();
}

template <class T>
class TorchKernelsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(torch_, nullptr); }

  std::vector<double> Ingest(Kernels& kernels, IngestPass pass) {
    pass.dtype = kDtype<T>;
    std::vector<double> dots(
        Blocks(kernels, pass.count) * (pass.rows.size() + 1), -1);
    pass.dots = dots.data();
    const absl::Status status = kernels.Ingest(pass);
    EXPECT_TRUE(status.ok()) << status;
    return dots;
  }

  std::vector<double> Commit(Kernels& kernels, CommitPass pass) {
    pass.dtype = kDtype<T>;
    std::vector<double> dots(
        Blocks(kernels, pass.count) * (pass.rows.size() + 1), -1);
    pass.update_dots = dots.data();
    const absl::Status status = kernels.Commit(pass);
    EXPECT_TRUE(status.ok()) << status;
    return dots;
  }

  // Sizes around one element, one block and a slab of blocks.
  std::vector<size_t> Sizes() const {
    const size_t block = torch_->block_elements();
    return {1, 1000, block - 1, block, block + 1, 3 * block + 17};
  }

  const std::shared_ptr<Kernels> torch_ = TorchCpu();
  const std::shared_ptr<Kernels> cpu_ = MakeCpuKernels(1);
};

using TorchTypes = ::testing::Types<float, double>;

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_KERNELS_TORCH_KERNELS_FIXTURE_H_
